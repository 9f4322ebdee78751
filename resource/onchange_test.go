// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/store"
)

// A function of WithOnChange gets each change, in order, before a subscriber gets its
// event.
func TestOnChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r *rig
		var events <-chan podEvent
		var got []string
		r = startRig(t, WithOnChange[*corev1.Pod](nil), WithOnChange(func(c store.Change[*corev1.Pod]) {
			_, shown := r.view.store.Get(c.Meta.Key)
			if c.Record != nil || shown != (c.Kind != store.Deleted) {
				t.Errorf("%s: the record is %v, the store has the object: %t", c.Kind, c.Record, shown)
			}
			synctest.Wait()
			select {
			case e := <-events:
				t.Errorf("a subscriber has %s already", text(e))
				e.Done(nil)
			default:
			}
			got = append(got, fmt.Sprintf("%s@%s", c.Kind, c.Meta.Version))
		}))
		events = r.view.Events(t.Context())
		r.sync("a")
		expect(t, events, "upsert a@1", "sync")
		r.upsert("a")
		expect(t, events, "upsert a@3")
		r.delete("a")
		expect(t, events, "delete a@3")
		r.upsert("a")
		if want := []string{"added@1", "updated@3", "deleted@4", "added@5"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A function that panics loses the change, and subscribers do not.
func TestOnChangeThatPanics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log reports
		r := startRig(t, WithName("pods"), WithLogger(log.logger()), WithOnChange(func(store.Change[*corev1.Pod]) { panic("fault") }))
		events := r.view.Events(t.Context())
		r.sync("a", "b")
		expectSet(t, events, "upsert a@1", "upsert b@2", "sync")
		if n := r.view.Stats().Panics; n != 2 {
			t.Errorf("%d panics are counted", n)
		}
		if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `function="function of WithOnChange"`) {
			t.Errorf("logged is %s", text)
		}
	})
}

func TestOnChangeOfAnotherType(t *testing.T) {
	lc := &cell.DefaultLifecycle{}
	r := NewFromSource[*corev1.Pod](lc, servertest.Silent[*corev1.Pod]{}, WithOnChange(func(store.Change[*corev1.Node]) {}))
	_, err := r.Store(t.Context())
	for _, err := range []error{err, errors.Unwrap(err), lc.Start(quiet(), t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "give a function of a store.Change of *v1.Pod") {
			t.Errorf("got %v", err)
		}
	}
}
