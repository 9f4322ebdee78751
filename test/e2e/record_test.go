// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// recorder is a subscriber that records what it is told.
type recorder[T runtime.Object] struct {
	mu      sync.Mutex
	events  []told
	state   map[store.Key]store.Meta
	objects map[store.Key]T
	synced  bool
	changed chan struct{}
	ended   chan struct{}
}

// told is one event.
type told struct {
	kind resource.EventKind
	meta store.Meta
}

func (e told) String() string { return fmt.Sprintf("%s %v (%s)", e.kind, e.meta, e.meta.UID) }

// record subscribes for the length of the test.
func record[T runtime.Object](t *testing.T, r resource.Resource[T]) *recorder[T] {
	ctx, cancel := context.WithCancel(context.Background())
	rec := &recorder[T]{
		state:   map[store.Key]store.Meta{},
		objects: map[store.Key]T{},
		changed: make(chan struct{}),
		ended:   make(chan struct{}),
	}
	events := r.Events(ctx)
	go func() {
		defer close(rec.ended)
		for event := range events {
			rec.take(event)
			event.Done(nil)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-rec.ended
	})
	return rec
}

func (rec *recorder[T]) take(event resource.Event[T]) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	e := told{kind: event.Kind}
	if event.Kind != resource.Sync {
		e.meta = metaOf(event.Object)
	}
	switch event.Kind {
	case resource.Sync:
		rec.synced = true
	case resource.Upsert:
		rec.state[event.Key], rec.objects[event.Key] = e.meta, event.Object
	case resource.Delete:
		delete(rec.state, event.Key)
		delete(rec.objects, event.Key)
	}
	rec.events = append(rec.events, e)
	close(rec.changed)
	rec.changed = make(chan struct{})
}

func metaOf(obj runtime.Object) store.Meta {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		panic(err)
	}
	return store.MetaOf(accessor)
}

// wait waits until ok is true of what was told. It is called with the recorder's
// lock held.
func (rec *recorder[T]) wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		rec.mu.Lock()
		done, changed := ok(), rec.changed
		rec.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			rec.mu.Lock()
			defer rec.mu.Unlock()
			t.Fatalf("waited in vain for %s; the last of %d events: %v", what, len(rec.events), rec.events[max(0, len(rec.events)-30):])
		}
	}
}

// waitSynced waits for Sync.
func (rec *recorder[T]) waitSynced(t *testing.T) {
	t.Helper()
	rec.wait(t, "sync", func() bool { return rec.synced })
}

// waitFor waits until the state that was told is that of the objects.
func (rec *recorder[T]) waitFor(t *testing.T, objects ...metav1.Object) {
	t.Helper()
	want := map[store.Key]store.Meta{}
	for _, obj := range objects {
		want[store.MetaOf(obj).Key] = store.MetaOf(obj)
	}
	rec.waitState(t, want)
}

// waitState waits until the state that was told is that one.
func (rec *recorder[T]) waitState(t *testing.T, want map[store.Key]store.Meta) {
	t.Helper()
	rec.wait(t, fmt.Sprint(want), func() bool { return maps.Equal(rec.state, want) })
}

// length returns how many events the subscriber got.
func (rec *recorder[T]) length() int {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return len(rec.events)
}

// check checks the rules over the whole record. The state told last must be the
// final one.
func (rec *recorder[T]) check(t *testing.T, final map[store.Key]store.Meta) {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if !maps.Equal(rec.state, final) {
		t.Errorf("told the state %v, the server has %v", rec.state, final)
	}
	last := map[store.Key]store.Meta{}
	syncs := 0
	for i, e := range rec.events {
		held, known := last[e.meta.Key]
		switch e.kind {
		case resource.Sync:
			syncs++
		case resource.Upsert:
			if known && held.UID != e.meta.UID {
				t.Errorf("event %d: %v replaces %v without a Delete", i, e, held.UID)
			}
			if order, ok := store.CompareVersions(e.meta.Version, held.Version); known && (!ok || order <= 0) {
				t.Errorf("event %d: %v after version %s", i, e, held.Version)
			}
			last[e.meta.Key] = e.meta
		case resource.Delete:
			if !known || held != e.meta {
				t.Errorf("event %d: %v, last told was %v", i, e, held)
			}
			if final[e.meta.Key].UID == e.meta.UID {
				t.Errorf("event %d: %v, but the server still has it", i, e)
			}
			delete(last, e.meta.Key)
		}
	}
	if syncs != 1 {
		t.Errorf("%d Syncs", syncs)
	}
}
