// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// rig drives a resource at its sink, in place of an informer.
type rig struct {
	t       testing.TB
	lc      *cell.DefaultLifecycle
	view    view[*corev1.Pod]
	sink    sink[*corev1.Pod]
	version int
	epoch   uint64
}

// deaf is a sink that nothing reaches.
type deaf struct{ store.SinkDefaults }

func (deaf) Begin(context.Context, store.Pass) error                     { return nil }
func (deaf) Apply(context.Context, store.Meta, *corev1.Pod) error        { return nil }
func (deaf) Delete(context.Context, store.Meta, *corev1.Pod, bool) error { return nil }
func (deaf) Commit(context.Context, string) error                        { return nil }
func (deaf) Abort(store.Pass, error)                                     {}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newRig(t testing.TB, opts ...Option) *rig {
	lc := &cell.DefaultLifecycle{}
	r := NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{}, append([]Option{WithLogger(quiet())}, opts...)...).(view[*corev1.Pod])
	// The informer has a sink of its own, to leave that of the resource alone.
	idle, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: servertest.Silent[*corev1.Pod]{}, Sink: deaf{}})
	if err != nil {
		t.Fatal(err)
	}
	r.reflector = idle
	return &rig{t: t, lc: lc, view: r, sink: sink[*corev1.Pod]{Store: r.store, resource: r.resource}}
}

func startRig(t testing.TB, opts ...Option) *rig {
	r := newRig(t, opts...)
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) start() {
	r.t.Helper()
	if err := r.lc.Start(quiet(), context.Background()); err != nil {
		r.t.Fatalf("start: %v", err)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	if err := r.lc.Stop(quiet(), context.Background()); err != nil {
		r.t.Fatalf("stop: %v", err)
	}
}

func pod(name, uid string, version int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "ns", UID: types.UID(uid), ResourceVersion: strconv.Itoa(version),
	}}
}

type podEvent = Event[*corev1.Pod]

func podKey(name string) store.Key { return store.Key{Name: name, Namespace: "ns"} }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) begin() {
	r.epoch++
	r.must(r.sink.Begin(context.Background(), store.Pass{Epoch: r.epoch, Reason: store.ReasonFirst}))
}

func (r *rig) commit() {
	r.version++
	r.must(r.sink.Commit(context.Background(), strconv.Itoa(r.version)))
}

// upsert applies the pod in a new version.
func (r *rig) upsert(name string, edit ...func(*corev1.Pod)) *corev1.Pod {
	r.t.Helper()
	return r.upsertAs(name, "uid-"+name, edit...)
}

func (r *rig) upsertAs(name, uid string, edit ...func(*corev1.Pod)) *corev1.Pod {
	r.t.Helper()
	r.version++
	p := pod(name, uid, r.version)
	for _, f := range edit {
		f(p)
	}
	r.must(r.sink.Apply(context.Background(), store.MetaOf(p), p))
	return p
}

func (r *rig) delete(name string) {
	r.t.Helper()
	r.version++
	held, ok := r.view.store.GetMeta(podKey(name))
	if !ok {
		r.t.Fatalf("%s is not there to be deleted", name)
	}
	held.Version = strconv.Itoa(r.version)
	r.must(r.sink.Delete(context.Background(), held, nil, false))
}

// sync makes the first pass with these pods.
func (r *rig) sync(names ...string) {
	r.t.Helper()
	r.begin()
	for _, name := range names {
		r.upsert(name)
	}
	r.commit()
}

// text is an event in the form that the tests compare: "upsert ns/a@3".
func text(e Event[*corev1.Pod]) string {
	if e.Kind == Sync {
		return "sync"
	}
	return fmt.Sprintf("%s %s@%s", e.Kind, e.Key.Name, e.Object.ResourceVersion)
}

// take receives one event. It fails the test after a while.
func take(t testing.TB, events <-chan Event[*corev1.Pod]) Event[*corev1.Pod] {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
	}
	panic("unreachable")
}

// expect receives events, compares their texts, and calls Done(nil) on each.
func expect(t testing.TB, events <-chan Event[*corev1.Pod], want ...string) {
	t.Helper()
	for _, w := range want {
		e := take(t, events)
		if got := text(e); got != w {
			t.Fatalf("got %q, want %q", got, w)
		}
		e.Done(nil)
	}
}

// expectSet is expect without an order.
func expectSet(t testing.TB, events <-chan Event[*corev1.Pod], want ...string) {
	t.Helper()
	missing := map[string]bool{}
	for _, w := range want {
		missing[w] = true
	}
	for range want {
		e := take(t, events)
		if got := text(e); !missing[got] {
			t.Fatalf("got %q, want one of %v", got, missing)
		} else {
			delete(missing, got)
		}
		e.Done(nil)
	}
}

func expectClosed(t testing.TB, events <-chan Event[*corev1.Pod]) {
	t.Helper()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			e.Done(nil)
		case <-time.After(10 * time.Second):
			t.Fatal("the channel is not closed")
		}
	}
}

func storePass(r *rig) store.Pass { return store.Pass{Epoch: r.epoch, Reason: store.ReasonFirst} }
