// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// all makes what Replace reads.
func all(things ...*thing) iter.Seq2[store.Meta, *thing] {
	return func(yield func(store.Meta, *thing) bool) {
		for _, t := range things {
			if !yield(t.Meta, t) {
				return
			}
		}
	}
}

func TestReplace(t *testing.T) {
	r := newRig(t)
	same := r.apply(at("same", "u", "1"), "red")
	r.apply(at("changed", "u", "1"), "red")
	r.apply(at("other", "u", "1"))
	r.apply(at("gone", "u", "1"), "red")
	r.wantChanges("added ns/same@1#u", "added ns/changed@1#u", "added ns/other@1#u", "added ns/gone@1#u")

	diff, err := r.Replace("9", all(
		&thing{Meta: at("same", "u", "1"), Tags: []string{"not looked at"}},
		&thing{Meta: at("twice", "u", "3"), Tags: []string{"not it"}},
		&thing{Meta: at("changed", "u", "2"), Tags: []string{"blue"}},
		&thing{Meta: at("twice", "u", "2"), Tags: []string{"blue"}},
		&thing{Meta: at("other", "v", "1")},
	))
	r.must(err)
	r.wantChanges("updated ns/changed@2#u was ns/changed@1#u", "added ns/twice@2#u",
		"updated ns/other@1#v was ns/other@1#u", "deleted ns/gone@1#u")
	if diff.Added != 1 || diff.Updated != 2 || diff.Deleted != 1 || diff.Len() != 4 {
		t.Errorf("difference %+v", diff)
	}
	if red, blue := r.names("tag", "red"), r.names("tag", "blue"); red != "same" || blue != "changed twice" {
		t.Errorf("red %q, blue %q", red, blue)
	}
	if got := r.values("tag"); got != "blue red" {
		t.Errorf("values %s", got)
	}
	if obj, _ := r.Get(same.Key); obj != same {
		t.Error("what did not change was replaced")
	}
	if r.Version() != "9" || r.Len() != 4 {
		t.Errorf("version %q, %d objects", r.Version(), r.Len())
	}

	// What follows is told as if each object had come alone.
	r.delete(at("twice", "u", "10"))
	r.apply(at("changed", "u", "11"), "red")
	r.wantChanges("deleted ns/twice@10#u was ns/twice@2#u", "updated ns/changed@11#u was ns/changed@2#u")
	if got := r.names("tag", "red"); got != "changed same" {
		t.Errorf("red: %s", got)
	}
}

// A Replace that fails changes nothing; nor does one whose objects panic.
func TestReplaceFails(t *testing.T) {
	r := newRig(t)
	r.apply(at("a", "u", "1"))
	r.wantChanges("added ns/a@1#u")
	if _, err := r.Replace("9", all(&thing{Meta: at("b", "u", "2")}, &thing{})); err == nil {
		t.Error("an object without a name was taken")
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = r.Replace("9", func(func(store.Meta, *thing) bool) { panic("no list") })
	}()
	r.wantChanges()
	if r.Version() != "1" || r.Len() != 1 {
		t.Errorf("version %q, %d objects", r.Version(), r.Len())
	}
}

// A Replace ends a pass: nothing may be concluded from what that had.
func TestReplaceWithinPass(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.apply(at("a", "u", "1"))
	_, err := r.Replace("2", all(&thing{Meta: at("b", "u", "2")}))
	r.must(err)
	if err := r.Commit(ctx, "3"); !errors.Is(err, store.ErrNoPass) {
		t.Errorf("Commit: %v", err)
	}
	if r.Stats().Aborts != 1 || r.Len() != 1 {
		t.Errorf("%+v", r.Stats())
	}
}

func TestReplaceReportsIndexErrors(t *testing.T) {
	r := newRig(t)
	bad := &thing{Meta: at("bad", "u", "1"), Trouble: panics}
	_, err := r.Replace("1", all(bad, &thing{Meta: at("good", "u", "1"), Tags: []string{"red"}}))
	r.must(err)
	_, err = r.Replace("2", all(bad, &thing{Meta: at("bad2", "u", "1"), Trouble: errs}))
	r.must(err)
	if len(r.errs) != 2 || r.Stats().IndexErrors != 2 {
		t.Errorf("told %v", r.errs)
	}
	if r.Len() != 2 || r.values("tag") != "" {
		t.Errorf("%d objects, values %q", r.Len(), r.values("tag"))
	}
}

// Readers see all of a Replace, or nothing, in each way to look.
func TestReplaceAtOnce(t *testing.T) {
	const objects, replaces = 700, 60
	r := newRig(t)
	state := func(n int) iter.Seq2[store.Meta, *thing] {
		var things []*thing
		for i := range objects {
			things = append(things, &thing{
				Meta: at(fmt.Sprint(i), "u", fmt.Sprint(n+1)), Tags: []string{fmt.Sprint("n", n)},
			})
		}
		return all(things...)
	}
	_, err := r.Replace("1", state(0))
	r.must(err)
	var stop atomic.Bool
	var done sync.WaitGroup
	check := func(what string, things []*thing) {
		if len(things) != objects {
			t.Errorf("%s: %d objects", what, len(things))
			return
		}
		for _, th := range things {
			if th.Version != things[0].Version {
				t.Errorf("%s: versions %s and %s", what, th.Version, things[0].Version)
				return
			}
		}
	}
	for _, look := range []func(){
		func() { check("List", r.List()) },
		func() {
			things, _ := r.ByIndex("namespace", "ns")
			check("ByIndex", things)
		},
		func() { // by key, of which one after the other may be newer
			last := 0
			for i := range 50 {
				th, ok := r.Get(at(fmt.Sprint(i), "", "").Key)
				if !ok {
					t.Error("Get: not there")
					return
				}
				var n int
				_, _ = fmt.Sscan(th.Version, &n)
				if n < last {
					t.Errorf("Get: version %d after %d", n, last)
				}
				last = n
			}
		},
		func() {
			snap := r.Snapshot()
			ix, err := snap.Index("tag")
			if err != nil || !slices.Equal(ix.Values(), []string{fmt.Sprint("n", atoi(snap.Version())-1)}) {
				t.Errorf("Snapshot at %s: values %v, %v", snap.Version(), ix.Values(), err)
				return
			}
			check("Snapshot", ix.List(ix.Values()[0]))
		},
	} {
		done.Go(func() {
			for !stop.Load() {
				look()
			}
		})
	}
	for n := range replaces {
		_, err := r.Replace(fmt.Sprint(n+1), state(n))
		r.must(err)
	}
	stop.Store(true)
	done.Wait()
}

func atoi(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// Writes are made at once, and those of old news dropped.
func TestWrite(t *testing.T) {
	r := newRig(t)
	write := func(name, version string, tags ...string) store.Write[*thing] {
		meta := at(name, "u", version)
		return store.Write[*thing]{Meta: meta, Object: &thing{Meta: meta, Tags: tags}}
	}
	remove := func(name, version string) store.Write[*thing] {
		return store.Write[*thing]{Meta: at(name, "u", version), Delete: true}
	}
	diff, err := r.Write(write("a", "5", "red"), write("b", "5"), write("a", "6", "blue"), write("a", "4", "green"), write("c", "5"), remove("c", "6"))
	r.must(err)
	r.wantChanges("added ns/a@6#u", "added ns/b@5#u")
	if diff.Added != 2 || diff.Len() != 2 || r.Stats().Stale != 1 || r.Version() != "6" {
		t.Errorf("difference %+v, stats %+v, version %q", diff, r.Stats(), r.Version())
	}
	_, err = r.Write(write("a", "6", "the same version"), write("b", "4"), remove("nobody", "9"))
	r.must(err)
	r.wantChanges("updated ns/a@6#u was ns/a@6#u")
	if got := r.values("tag"); got != "the same version" {
		t.Errorf("values %q", got)
	}
	diff, err = r.Write(remove("a", "7"), write("a", "8", "again"), remove("b", "8"))
	r.must(err)
	r.wantChanges("updated ns/a@8#u was ns/a@6#u", "deleted ns/b@8#u was ns/b@5#u")
	if diff.Updated != 1 || diff.Deleted != 1 {
		t.Errorf("difference %+v", diff)
	}
	if _, err := r.Write(write("d", "9"), write("", "9")); err == nil || r.Len() != 1 {
		t.Errorf("a write without a name: %v, %d objects", err, r.Len())
	}
	_, err = r.Write(store.Write[*thing]{Meta: at("a", "another", "9"), Object: &thing{}, Delete: true})
	r.must(err)
	if c := r.changes[0]; c.Kind != store.Deleted || c.New != nil {
		t.Errorf("the last state of another object was told: %+v", c)
	}
	if diff, err := r.Write(); err != nil || diff.Len() != 0 {
		t.Errorf("no writes: %v, %+v", err, diff)
	}
}

// A pass of a server whose versions do not identify states replaces each object, also in
// the version that is held, and deletes what it lacks. The next pass holds them again.
func TestPassAnew(t *testing.T) {
	r := newRig(t)
	r.begin()
	r.apply(at("same", "u", "1"), "red")
	r.apply(at("gone", "u", "1"))
	r.commit("1")
	r.changes = nil
	for _, anew := range []bool{false, true, false} {
		r.must(r.Begin(ctx, store.Pass{Epoch: 2, Reason: store.ReasonExpired, Anew: anew}))
		r.apply(at("same", "u", "1"), "blue")
		if red, blue := r.names("tag", "red"), r.names("tag", "blue"); anew && (red != "" || blue != "same") {
			t.Errorf("red %q, blue %q", red, blue)
		}
		if !anew {
			r.wantChanges()
			r.Abort(store.Pass{}, nil)
			continue
		}
		r.commit("1")
		r.wantChanges("updated ns/same@1#u was ns/same@1#u", "deleted ns/gone@1#u")
	}
}
