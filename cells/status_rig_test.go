// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// statusRig is an engine on a fakeapi.Server, in virtual time.
type statusRig struct {
	*testing.T
	api    *fakeapi.Server
	engine *status.Engine
}

// playStatus runs a test in a bubble, once with an engine as it is in a hive, and once
// with one that cannot read streams.
func playStatus(t *testing.T, cfg status.Config, test func(r *statusRig), objects ...runtime.Object) {
	t.Helper()
	t.Run("streamed", func(t *testing.T) { playStatusBy(t, cell.Group(), cfg, test, objects) })
	t.Run("listed", func(t *testing.T) {
		playStatusBy(t, cell.Invoke(func(client *ClientState) { client.stream = nil }), cfg, test, objects)
	})
}

func playStatusBy(t *testing.T, client cell.Cell, cfg status.Config, test func(r *statusRig), objects []runtime.Object) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &statusRig{T: t, api: fakeapi.New()}
		if err := r.api.Add(objects...); err != nil {
			t.Fatal(err)
		}
		h := hive.New(withFake(r.api), client, StatusWith(cfg), cell.Invoke(func(e *status.Engine) { r.engine = e }))
		if err := h.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := h.Stop(quiet(), context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(r)
	})
}

// statusEngine makes an engine beside a hive, which finds kinds by the clients, and what
// stops it.
func statusEngine(t *testing.T, clients clientOut, cfg status.Config) (engine *status.Engine, stop func()) {
	t.Helper()
	cfg.Mapping, cfg.Log = (&statusKinds{kinds: clients.State.kinds}).mapping, quiet()
	engine, err := status.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return engine, func() {
		if err := engine.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func (r *statusRig) watch(ids ...status.ID) *status.Watch {
	r.Helper()
	w, err := r.engine.Watch(r.Context(), ids...)
	if err != nil {
		r.Fatal(err)
	}
	return w
}

// update has the objects be as they are now.
func (r *statusRig) update(objects ...runtime.Object) {
	r.Helper()
	if err := r.api.Add(objects...); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
}

func (r *statusRig) remove(objects ...runtime.Object) {
	r.Helper()
	if err := r.api.Remove(objects...); err != nil {
		r.Fatal(err)
	}
	synctest.Wait()
}

// is checks the latest statuses: "name Status" or "name Status/Reason" for each, in
// the order of the IDs.
func (r *statusRig) is(w *status.Watch, want ...string) {
	r.Helper()
	synctest.Wait()
	var got []string
	for _, s := range w.Statuses() {
		got = append(got, short(s))
	}
	if !slices.Equal(got, want) {
		r.Fatalf("got %q, want %q (%v)", got, want, w.Statuses())
	}
}

func short(s status.ObjectStatus) string {
	text := s.ID.Name + " " + string(s.Status)
	if s.Reason != "" {
		text += "/" + string(s.Reason)
	}
	return text
}

// next returns the next event in short form.
func (r *statusRig) next(w *status.Watch) string {
	for ev := range w.Events() {
		if ev.Type == status.ResourceUpdate {
			return short(ev.Resource)
		}
		return string(ev.Type)
	}
	return "end"
}

// events checks which events come next.
func (r *statusRig) events(w *status.Watch, want ...string) {
	r.Helper()
	for _, want := range want {
		if got := r.next(w); got != want {
			r.Fatalf("got %q, want %q", got, want)
		}
	}
}

// asked returns the requests for objects since it was last called, as "verb resource
// namespace/selector".
func (r *statusRig) asked(since *int) []string {
	all := r.api.Requests()
	var texts []string
	for _, req := range all[*since:] {
		if req.Verb != "" {
			text := req.Verb + " " + req.Resource.Resource
			for _, part := range []string{req.Namespace, req.Name, req.Options.FieldSelector} {
				if part != "" {
					text += " " + part
				}
			}
			texts = append(texts, text)
		}
	}
	*since = len(all)
	return texts
}

// forbid has requests refused that deny is true for.
func (r *statusRig) forbid(deny func(fakeapi.Request) bool) {
	r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
		if req.Verb != "" && deny(req) {
			return forbidden(req)
		}
		return nil
	})
}

func idOf(kind, namespace, name string) status.ID {
	group := ""
	if g, k, ok := strings.Cut(kind, "/"); ok {
		group, kind = g, k
	}
	return status.ID{Namespace: namespace, Name: name, GroupKind: schema.GroupKind{Group: group, Kind: kind}}
}

// created is the UID of the object that was created as the nth. None has 0.
func created(nth int) types.UID {
	return types.UID(fmt.Sprintf("00000000-0000-4000-8000-%012d", nth))
}

// metaOf is the metadata of an object that the one created as the nth controls.
func metaOf(namespace, name string, owner int) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: namespace, Name: name}
	if owner > 0 {
		yes := true
		m.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "Owner", Name: "owner", UID: created(owner), Controller: &yes,
		}}
	}
	return m
}

func podIn(phase corev1.PodPhase, namespace, name string, owner int) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metaOf(namespace, name, owner), Status: corev1.PodStatus{Phase: phase}}
	if phase == corev1.PodRunning {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

func replicaSet(namespace, name string, replicas, ready int32, owner int) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metaOf(namespace, name, owner),
		Spec:       appsv1.ReplicaSetSpec{Replicas: &replicas},
		Status:     appsv1.ReplicaSetStatus{Replicas: replicas, ReadyReplicas: ready, AvailableReplicas: ready, FullyLabeledReplicas: replicas},
	}
}

func deployment(namespace, name string, replicas, ready int32) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metaOf(namespace, name, 0),
		Spec:       appsv1.DeploymentSpec{Replicas: &replicas},
		Status: appsv1.DeploymentStatus{
			Replicas: replicas, UpdatedReplicas: replicas, ReadyReplicas: ready, AvailableReplicas: ready,
			Conditions: []appsv1.DeploymentCondition{
				{Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: "NewReplicaSetAvailable"},
				{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue},
			},
		},
	}
	return d
}
