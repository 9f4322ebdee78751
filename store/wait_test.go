// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/apiary-go/apiary/store"
)

// Whatever brings the store to the version ends the wait, and nothing before.
func TestWaitFor(t *testing.T) {
	for name, test := range map[string]struct{ before, at func(*rig) }{
		"apply":    {func(r *rig) { r.apply(at("a", "u", "9")) }, func(r *rig) { r.apply(at("b", "u", "10")) }},
		"newer":    {func(r *rig) { r.apply(at("a", "u", "9")) }, func(r *rig) { r.apply(at("b", "u", "11")) }},
		"delete":   {func(r *rig) { r.delete(at("b", "u", "9")) }, func(r *rig) { r.delete(at("a", "u", "10")) }},
		"vanished": {func(r *rig) { r.delete(at("b", "u", "9")) }, func(r *rig) { r.delete(at("nobody", "u", "10")) }},
		"progress": {func(r *rig) { r.must(r.Progress(ctx, "9")) }, func(r *rig) { r.must(r.Progress(ctx, "10")) }},
		"pass":     {func(r *rig) { r.begin(); r.apply(at("a", "u", "10")) }, func(r *rig) { r.commit("10") }},
		"write": {func(r *rig) {}, func(r *rig) {
			_, err := r.Write(store.Write[*thing]{Meta: at("a", "u", "10"), Object: &thing{}})
			r.must(err)
		}},
		"replace": {func(r *rig) {}, func(r *rig) {
			_, err := r.Replace("10", func(func(store.Meta, *thing) bool) {})
			r.must(err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.apply(at("a", "u", "1"))
				done := make(chan error, 1)
				go func() { done <- r.WaitFor(ctx, "10") }()
				test.before(r)
				synctest.Wait()
				if len(done) > 0 {
					t.Fatalf("it returned %v at version %q", <-done, r.Version())
				}
				test.at(r)
				synctest.Wait()
				if len(done) == 0 {
					t.Fatalf("it still waits at version %q", r.Version())
				}
				r.must(<-done)
				r.must(r.WaitFor(ctx, "10"))
				r.must(r.WaitFor(ctx, "3"))
			})
		})
	}
}

func TestWaitForEnds(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"))
	for _, version := range []string{"", "0", "abc"} {
		if err := r.WaitFor(ctx, version); !errors.Is(err, store.ErrNoOrder) {
			t.Errorf("wait for %q: %v", version, err)
		}
	}
	cause := errors.New("enough")
	ended, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	err := r.WaitFor(ended, "2")
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), `version 2, it is at "1"`) {
		t.Errorf("wait until ctx ended: %v", err)
	}
	r.must(r.WaitFor(ended, "1")) // which there is no need to wait for
}

// Snapshots are of whole states, the newest ones, and never the same twice.
func TestSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		shown := make(chan store.Snapshot[*thing]) // the loop waits until it is taken
		go func() {
			defer close(shown)
			for snap := range r.Snapshots(ctx) {
				shown <- snap
			}
		}()
		names := func(want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			select {
			case snap := <-shown:
				for key := range snap.All() {
					got = append(got, key.Name)
				}
				slices.Sort(got)
			default:
				got = []string{"nothing"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("shown %q, want %q", got, want)
			}
		}
		r.begin()
		r.apply(at("a", "u", "1"))
		names("nothing") // in the first pass
		r.Abort(store.Pass{}, nil)
		names("nothing") // it broke off
		r.begin()
		r.apply(at("b", "u", "1"))
		r.commit("1")
		names("b")
		names("nothing") // new
		r.apply(at("c", "u", "2"))
		names("b", "c")
		r.must(r.Progress(ctx, "3"))
		names("nothing") // but a version
		r.begin()
		r.apply(at("d", "u", "4"))
		names("nothing") // in a pass
		r.apply(at("e", "u", "4"))
		r.commit("4")
		names("d", "e")
		r.delete(at("d", "u", "5"))
		synctest.Wait() // the loop has this one
		r.delete(at("e", "u", "6"))
		r.apply(at("f", "u", "7"))
		names("e")
		names("f") // what was in between is passed over
		r.commitEmpty()
		names()
		r.begin()
		r.apply(at("g", "u", "9"))
		names("nothing") // in a pass
		r.Abort(store.Pass{}, nil)
		names("g")
		_, err := r.Replace("10", all(&thing{Meta: at("h", "u", "9")}))
		r.must(err)
		names("h")
		cancel()
		if _, more := <-shown; more {
			t.Error("it went on after the end of ctx")
		}
	})
}

// commitEmpty is a pass without objects.
func (r *rig) commitEmpty() {
	r.begin()
	r.commit("8")
}

// The first state may be an empty one.
func TestSnapshotsOfNothing(t *testing.T) {
	r := newRig(t)
	r.commitEmpty()
	for snap := range r.Snapshots(ctx) {
		if snap.Len() != 0 || snap.Version() != "8" {
			t.Errorf("%d objects at %q", snap.Len(), snap.Version())
		}
		break
	}
}

func TestZeroSnapshot(t *testing.T) {
	var s store.Snapshot[*thing]
	if _, ok := s.Get(store.Key{Name: "a"}); ok || s.Len() != 0 || len(s.List()) != 0 || s.Version() != "" || s.Generation() != 0 {
		t.Error("a zero snapshot has something")
	}
	if _, err := s.Index("tag"); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("its index: %v", err)
	}
	var x store.Index[*thing]
	if x.Name() != "" || x.Count("a") != 0 || len(x.List("a")) != 0 || len(x.Values()) != 0 {
		t.Error("a zero index has something")
	}
}
