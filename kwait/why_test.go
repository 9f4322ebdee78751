// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/clitest"
)

// rollout is a Deployment with a ReplicaSet, some of whose Pods are not ready.
type rollout struct {
	w    *waiting
	kube kubernetes.Interface
	set  *appsv1.ReplicaSet
}

func (w *waiting) rollout() *rollout {
	w.t.Helper()
	kube, err := kubernetes.NewForConfig(w.api.Config())
	if err != nil {
		w.t.Fatal(err)
	}
	r := &rollout{w: w, kube: kube}
	state := web(9, 1)
	deployment, err := kube.AppsV1().Deployments("shop").Create(w.t.Context(), state, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	deployment.Status = state.Status
	if deployment, err = kube.AppsV1().Deployments("shop").UpdateStatus(w.t.Context(), deployment, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	r.set, err = kube.AppsV1().ReplicaSets("shop").Create(w.t.Context(), &appsv1.ReplicaSet{
		ObjectMeta: owned("web-1", "Deployment", deployment), Spec: appsv1.ReplicaSetSpec{Replicas: deployment.Spec.Replicas},
	}, metav1.CreateOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func owned(name, kind string, owner metav1.Object) metav1.ObjectMeta {
	meta := inShop(name)
	meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: kind, Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true)}}
	return meta
}

// pod creates a Pod of the ReplicaSet.
func (r *rollout) pod(name string, podStatus corev1.PodStatus) *corev1.Pod {
	r.w.t.Helper()
	p, err := r.kube.CoreV1().Pods("shop").Create(r.w.t.Context(), &corev1.Pod{ObjectMeta: owned(name, "ReplicaSet", r.set)}, metav1.CreateOptions{})
	if err != nil {
		r.w.t.Fatal(err)
	}
	p.Status = podStatus
	if p, err = r.kube.CoreV1().Pods("shop").UpdateStatus(r.w.t.Context(), p, metav1.UpdateOptions{}); err != nil {
		r.w.t.Fatal(err)
	}
	return p
}

// event creates an event, some time ago.
func (r *rollout) event(kind string, about metav1.Object, change func(e *corev1.Event), ago time.Duration) {
	r.w.t.Helper()
	e := &corev1.Event{
		ObjectMeta:     inShop(fmt.Sprint(about.GetName(), ".", ago.Nanoseconds())),
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: "shop", Name: about.GetName(), UID: about.GetUID()},
		Type:           corev1.EventTypeWarning, LastTimestamp: metav1.NewTime(time.Now().Add(-ago)),
	}
	change(e)
	if _, err := r.kube.CoreV1().Events("shop").Create(r.w.t.Context(), e, metav1.CreateOptions{}); err != nil {
		r.w.t.Fatal(err)
	}
}

func phase(p corev1.PodPhase, containers ...corev1.ContainerStatus) corev1.PodStatus {
	return corev1.PodStatus{Phase: p, ContainerStatuses: containers}
}

func waitingFor(name, reason, message string) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
}

func exited(reason string, code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code, Message: "the end of a secret log"}}
}

// fill adds Pods in several states, and events.
func (r *rollout) fill() {
	crashed := waitingFor("main", "CrashLoopBackOff", "back-off 5m0s\nrestarting")
	crashed.RestartCount, crashed.LastTerminationState = 5, exited("OOMKilled", 137)
	r.pod("web-1-a", phase(corev1.PodPending, waitingFor("main", "ContainerCreating", "")))
	b := r.pod("web-1-b", phase(corev1.PodRunning, crashed, corev1.ContainerStatus{Name: "side", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}))
	r.pod("web-1-c", phase(corev1.PodRunning, corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}))
	r.pod("web-1-d", phase(corev1.PodRunning, corev1.ContainerStatus{Name: "main", State: exited("Error", 2)}, corev1.ContainerStatus{Name: "done", State: exited("Completed", 0)}))
	unscheduled := phase(corev1.PodPending)
	unscheduled.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available"}}
	r.pod("web-1-e", unscheduled)
	r.pod("web-1-f", phase(corev1.PodPending))
	r.pod("web-1-g", phase(corev1.PodPending))
	ready := phase(corev1.PodRunning, corev1.ContainerStatus{Name: "main", Ready: true})
	ready.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	i := r.pod("web-1-i", ready)

	warn := func(reason, message string, count int32) func(*corev1.Event) {
		return func(e *corev1.Event) { e.Reason, e.Message, e.Count = reason, message, count }
	}
	r.event("Pod", b, warn("BackOff", "Back-off restarting\nfailed container", 12), 10*time.Second)
	r.event("Pod", b, func(e *corev1.Event) { warn("Pulled", "normal", 1)(e); e.Type = corev1.EventTypeNormal }, 9*time.Second)
	r.event("ReplicaSet", r.set, warn("FailedCreate", "exceeded quota", 0), 30*time.Second)
	r.event("Pod", i, warn("Unhealthy", "of a Pod that is ready", 1), 5*time.Second)
	for n := range 6 {
		r.event("ReplicaSet", r.set, warn("Old", fmt.Sprint("older ", n), 1), time.Hour+time.Duration(n)*time.Minute)
	}
	r.event("Pod", b, func(e *corev1.Event) { // as of events.k8s.io
		warn("Failed", "in a series", 0)(e)
		e.LastTimestamp, e.EventTime = metav1.Time{}, metav1.NewMicroTime(time.Now().Add(-time.Hour))
		e.Series = &corev1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(time.Now().Add(-20 * time.Second))}
	}, 0)
}

func TestWhy(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.rollout().fill()
		w.start("", "deployment/web", "--timeout", "1m")
		w.mustEnd(2)
		clitest.Golden(t, w.out.Take())
	})
}

// The screen shows the worst Pod while it waits, and all at the end.
func TestWhyScreen(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	inWait(t, func(w *waiting) {
		w.rollout().fill()
		w.startOn(screen(100, 8), webManifest, "--timeout", "1500ms")
		w.mustEnd(2)
		clitest.Golden(t, clitest.Readable.Replace(w.out.Take()))
	})
}

// Events that are forbidden are one line, and one request.
func TestWhyForbidden(t *testing.T) {
	inWait(t, func(w *waiting) {
		requests := 0
		w.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource == "events" {
				requests++
				return forbidden(r)
			}
			return nil
		})
		w.rollout()
		w.add(pod("one", false))
		w.start(podManifest+webManifest, "--timeout", "1m")
		w.mustEnd(2)
		text := w.out.Take()
		clitest.Expect(t, text, "events are not shown: ", `User "jane" cannot list resource "events"`, "timed out: 0 of 2")
		if requests != 1 || strings.Count(text, "events are not shown") != 1 {
			t.Errorf("%d requests; it printed:\n%s", requests, text)
		}
	})
}

// A server that does not answer delays the end for three seconds, and a signal ends the
// wait without events.
func TestWhyEndsInTime(t *testing.T) {
	for name, code := range map[string]int{"timeout": 2, "interrupt": 130} {
		t.Run(name, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.api.Intercept(func(ctx context.Context, r fakeapi.Request) error {
					if r.Resource.Resource == "events" {
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				})
				w.add(crashing())
				w.start(podManifest, "--timeout", "1m", "--fail-fast=false")
				begin, want := time.Now(), time.Minute+whyTime
				if code == 130 {
					w.after(time.Second)
					w.cancel(interrupted{syscall.SIGINT})
					want = time.Second
				} else {
					code = 1
				}
				w.mustEnd(code)
				clitest.Expect(t, w.out.Take(), "Pod one, container main: CrashLoopBackOff: back-off")
				if took := time.Since(begin); took != want {
					t.Errorf("it took %s, want %s", took, want)
				}
			})
		})
	}
}

// Finalizers delay a deletion.
func TestWhyFinalizers(t *testing.T) {
	inWait(t, func(w *waiting) {
		going := conf()
		going.Finalizers, going.DeletionTimestamp = []string{"example.com/wait", "example.com/more"}, &metav1.Time{Time: time.Now()}
		w.add(going)
		w.start(confManifest, "--for", "deleted", "--timeout", "1m")
		w.mustEnd(2)
		clitest.Expect(t, w.out.Take(), "    it is being deleted, with the finalizers example.com/wait, example.com/more\n")
	})
}

func TestJSON(t *testing.T) {
	inWait(t, func(w *waiting) {
		r := w.rollout()
		r.fill()
		w.add(conf())
		w.start(confManifest+webManifest+hivesManifest, "--timeout", "1m", "-o", "json")
		w.mustEnd(2)
		text := w.out.Take()
		clitest.Golden(t, text)

		// All fields are in the README.
		readme, err := os.ReadFile("README.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []any{objectLine{}, resultLine{}, why{}, failingPod{}, warning{}} {
			for field := range reflect.TypeOf(line).Fields() {
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if !strings.Contains(string(readme), "`"+name+"`") {
					t.Errorf("README.md lacks the field %s of %T", name, line)
				}
			}
		}
		lines := slices.Collect(strings.Lines(text))
		for i, text := range lines {
			var fields map[string]any
			if err := json.Unmarshal([]byte(text), &fields); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if isLast := i == len(lines)-1; isLast != (fields["result"] != nil) || isLast == (fields["kind"] != nil) {
				t.Errorf("line %d of %d is %s", i+1, len(lines), text)
			}
		}
	})
}

// The result is in the last line, with the exit code.
func TestJSONResults(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"met":       {[]string{"configmap/conf"}, 0, `"result":"met","exitCode":0,"message":"it is Current, 0s","objects":1,"met":1,"failed":0,`},
		"failed":    {[]string{"pod/one"}, 1, `"result":"failed","exitCode":1,"message":"failed: 0 of 1 is Current, 1 Failed, 0s",`},
		"timeout":   {[]string{"pod/two", "--timeout", "1m"}, 2, `"result":"timeout","exitCode":2,`},
		"interrupt": {[]string{"pod/two"}, 130, `"result":"interrupted","exitCode":130,`},
		"nothing":   {[]string{"services", "--all", "--for", "deleted"}, 0, `"result":"met","exitCode":0,"message":"no objects match: nothing to wait for","objects":0,`},
	} {
		t.Run(name, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.add(conf(), crashing())
				w.start("", append(test.args, "-o", "json")...)
				text := w.after(time.Second)
				if test.code == 130 {
					w.cancel(interrupted{syscall.SIGINT})
				}
				w.mustEnd(test.code)
				lines := strings.Split(strings.TrimSpace(text+w.out.Take()), "\n")
				clitest.Expect(t, lines[len(lines)-1], test.want)
			})
		})
	}
}
