// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"errors"
	"testing"
	"time"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// The mutation detector checks the objects in a FIFO.
func TestFIFOSinkIsSharing(t *testing.T) {
	if !store.IsSharing(newFIFO(t).Sink()) {
		t.Error("the objects of a FIFO count as its own")
	}
}

func TestFIFOSinkPass(t *testing.T) {
	f := newFIFO(t)
	sink, ctx := f.Sink(), t.Context()
	if sink.MayBlock() || sink.Holds(storetest.MetaOfJob("a", "1")) {
		t.Error("the sink blocks or holds something")
	}
	storetest.Must(t, f.Add(storetest.NewJob("gone", 1)), f.Add(storetest.NewJob("b", 1)), f.Add(storetest.NewJob("retried", 1)), f.Add(storetest.NewJob("leased", 1)))
	storetest.Must(t, sink.Begin(ctx, store.Pass{}), sink.Apply(ctx, storetest.MetaOfJob("a", "1"), storetest.NewJob("a", 1)))
	sink.Abort(store.Pass{}, storetest.ErrJob)
	wantJobs(t, f.List(), "gone1", "b1", "retried1", "leased1", "a1")
	if err := sink.Commit(ctx, "1"); !errors.Is(err, store.ErrNoPass) {
		t.Errorf("commit of an aborted pass: %v", err)
	}

	gone := pop(t, f)
	storetest.Must(t, f.Add(storetest.NewJob("gone", 2)))
	b := pop(t, f)
	retried := pop(t, f)
	leased := pop(t, f)
	storetest.Must(t,
		sink.Begin(ctx, store.Pass{}),
		sink.Apply(ctx, storetest.MetaOfJob("b", "2"), storetest.NewJob("b", 2)),
		sink.Apply(ctx, storetest.MetaOfJob("leased", "1"), storetest.NewJob("leased", 2)),
		sink.Page(ctx, store.PageInfo{Number: 1, Objects: 2}),
		f.Add(storetest.NewJob("by hand", 1)),
	)
	leased.Done()
	if f.HasSynced() {
		t.Error("synced within the first pass")
	}
	storetest.Must(t, sink.Commit(ctx, "3"))
	gone.Retry(0)
	retried.Retry(0)
	b.Done()
	wantJobs(t, f.List(), "by hand1", "leased2", "b2")
	if s := f.Stats(); s.Dropped != 4 { // gone twice, a, retried
		t.Errorf("stats %+v", s)
	}
	for range 3 {
		if f.HasSynced() {
			t.Error("synced before the pass was handed out")
		}
		pop(t, f)
	}
	if !f.HasSynced() {
		t.Error("not synced")
	}
}

// TestFIFOSinkKeepsWhatWasRetried pops and retries objects of a pass before the pass ends.
func TestFIFOSinkKeepsWhatWasRetried(t *testing.T) {
	f := newFIFO(t)
	sink, ctx := f.Sink(), t.Context()
	storetest.Must(t, sink.Begin(ctx, store.Pass{}), sink.Apply(ctx, storetest.MetaOfJob("a", "1"), storetest.NewJob("a", 1)), sink.Apply(ctx, storetest.MetaOfJob("b", "1"), storetest.NewJob("b", 1)))
	defer f.Close()
	pop(t, f).Retry(time.Hour)
	b := pop(t, f)
	storetest.Must(t, sink.Commit(ctx, "1"))
	b.Retry(0)
	wantJobs(t, f.List(), "b1", "a1")
	if !f.HasSynced() {
		t.Error("not synced, although everything was handed out")
	}
}

func TestFIFOSinkChanges(t *testing.T) {
	f := newFIFO(t)
	sink, ctx := f.Sink(), t.Context()
	apply := func(version string, n int) {
		storetest.Must(t, sink.Apply(ctx, storetest.MetaOfJob("a", version), storetest.NewJob("a", n)))
	}
	remove := func(meta store.Meta) { storetest.Must(t, sink.Delete(ctx, meta, storetest.Job{}, false)) }
	apply("5", 5)
	apply("4", 4)
	apply("5", 6)
	wantJobs(t, f.List(), "a5")
	l := pop(t, f)
	apply("5", 7)
	wantJobs(t, f.List())
	remove(store.Meta{Key: l.Key(), UID: "an older one", Version: "3"})
	if l.Retry(0); f.Len() != 1 {
		t.Error("the deletion of an older object counted")
	}
	remove(storetest.MetaOfJob("a", "6"))
	apply("4", 8) // nothing is known of a any more
	wantJobs(t, f.List(), "a8")
	l = pop(t, f)
	remove(storetest.MetaOfJob("a", "6"))
	apply("4", 8) // nor is it while a is leased
	wantJobs(t, f.List(), "a8")
	l.Done()
	storetest.Must(t, sink.Begin(ctx, store.Pass{}))
	apply("2", 2) // a restored cluster
	storetest.Must(t, sink.Commit(ctx, "2"), sink.Progress(ctx, "3"))
	wantJobs(t, f.List(), "a2")
	if s := f.Stats(); s.Stale != 4 || s.Dropped != 1 {
		t.Errorf("stats %+v", s)
	}
	if err := sink.Apply(ctx, store.Meta{}, storetest.Job{}); err == nil {
		t.Error("an object without a name was queued")
	}
	f.Close()
	if err := sink.Apply(ctx, storetest.MetaOfJob("a", "9"), storetest.Job{}); !errors.Is(err, fifo.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// What a pass keeps stays queued, as far as it is the same object; where nobody knows which
// one it is, all stays.
func TestFIFOSinkKeep(t *testing.T) {
	f := newFIFO(t)
	sink, ctx := f.Sink(), t.Context()
	storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 1)), f.Add(storetest.NewJob("c", 1)))
	storetest.Must(t, sink.Begin(ctx, store.Pass{}), store.Keep(ctx, sink, storetest.MetaOfJob("b", "2")), sink.Commit(ctx, "2"))
	wantJobs(t, f.List(), "b1")
	storetest.Must(t, f.Add(storetest.NewJob("c", 1)),
		sink.Begin(ctx, store.Pass{}), store.Keep(ctx, sink, store.Meta{}), sink.Commit(ctx, "3"))
	wantJobs(t, f.List(), "b1", "c1")
}
