// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/clitest"
)

// waiting is a run of the command on an API server in memory, in a bubble.
type waiting struct {
	t       *testing.T
	api     *fakeapi.Server
	out     *clitest.Output
	to      io.Writer // out, unless a test has another one
	program *program
	cancel  context.CancelCauseFunc
	ended   chan struct{}
	err     error // once ended is closed
}

// inWait runs a test in a bubble.
func inWait(t *testing.T, test func(w *waiting)) {
	t.Helper()
	t.Setenv("KUBECONFIG", "")
	synctest.Test(t, func(t *testing.T) {
		out := clitest.NewOutput()
		test(&waiting{t: t, api: fakeapi.New(), out: out, to: out})
	})
}

// start runs the command with the manifests as its input, or with arguments if there are
// none. Signals are left out: they come from outside the bubble.
func (w *waiting) start(manifests string, args ...string) {
	w.t.Helper()
	w.startOn(nil, manifests, args...)
}

// startOn is the same on a terminal, if there is a size.
func (w *waiting) startOn(size func() (int, int), manifests string, args ...string) {
	w.t.Helper()
	w.program = newProgram(cells.FakeClientWith(func() *fakeapi.Server { return w.api }), w.to)
	w.program.size = size
	args = append([]string{"-n", "shop"}, args...)
	if manifests != "" {
		args = append(args, "-f", "-")
	}
	cmd := w.program.command()
	if err := cmd.ParseFlags(args); err != nil {
		w.t.Fatal(err)
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancelCause(w.t.Context())
	w.ended = make(chan struct{})
	go func() {
		defer close(w.ended)
		in, err := w.program.read(cmd.Flags().Args(), strings.NewReader(manifests))
		if err == nil {
			err = w.program.wait(ctx, in)
		}
		w.err = err
	}()
}

// after lets time pass, and returns what was printed meanwhile.
func (w *waiting) after(d time.Duration) string {
	w.t.Helper()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	return w.out.Take()
}

func (w *waiting) add(objects ...runtime.Object) {
	w.t.Helper()
	if err := w.api.Add(objects...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *waiting) remove(objects ...runtime.Object) {
	w.t.Helper()
	if err := w.api.Remove(objects...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *waiting) stillRuns() {
	w.t.Helper()
	synctest.Wait()
	select {
	case <-w.ended:
		w.t.Fatalf("it has ended with %v; it printed:\n%s", w.err, w.out)
	default:
	}
}

// mustEnd waits for the end.
func (w *waiting) mustEnd(code int) {
	w.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(time.Hour):
		w.t.Fatalf("it does not end; it printed:\n%s", w.out)
	}
	if w.cancel != nil {
		w.cancel(nil)
	}
	if got, _ := exitCode(w.err); got != code {
		w.t.Fatalf("it ended with %v, exit code %d, want %d; it printed:\n%s", w.err, got, code, w.out)
	}
}

const (
	confManifest  = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\n---\n"
	webManifest   = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\n"
	podManifest   = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\n---\n"
	jobManifest   = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: task}\n---\n"
	shopManifest  = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n"
	hivesManifest = "apiVersion: example.com/v1\nkind: Hive\nmetadata: {name: first}\n---\n"
)

func inShop(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "shop", Name: name}
}

func conf() *corev1.ConfigMap { return &corev1.ConfigMap{ObjectMeta: inShop("conf")} }

// web has so many of its replicas ready.
func web(replicas, ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: inShop("web"),
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas},
		Status: appsv1.DeploymentStatus{
			Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: ready, AvailableReplicas: ready,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			},
		},
	}
}

func pod(name string, ready bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: inShop(name), Status: corev1.PodStatus{Phase: corev1.PodPending}}
	if ready {
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

func crashing() *corev1.Pod {
	p := pod("one", false)
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
	}}
	return p
}
