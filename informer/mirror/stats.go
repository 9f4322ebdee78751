// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// InformerStats says how a [ResourceVersionInformer] is doing. Counters count from
// its construction.
type InformerStats struct {
	// Name is that of the informer.
	Name string

	// Reflector says what the reading side does; Contact is when the server was
	// last heard of.
	Reflector informer.ReflectorInfo

	// Synced and ResumeVersion are those of the methods of these names.
	Synced        bool
	ResumeVersion string

	// Pass is the progress of the pass under way, or of the last one.
	Pass Progress

	// Recorded is how many objects are recorded as acknowledged.
	Recorded int

	// Pending is how many changes the handler has not acknowledged,
	// PendingBytes the estimated size of their objects, Failing how many keys
	// among them failed and are tried again.
	Pending      int
	PendingBytes int64
	Failing      int

	// HeldBack tells of the change that was accepted first of those that are not
	// acknowledged: the one that holds back the resume version. Nil if all are.
	HeldBack *HeldBack

	// Added, Updated, Deleted and Shown (by OnSync) are acknowledged calls of the handler,
	// NotKept those that it answered with ErrNotKept, Failures those that failed,
	// those of the storage for the same keys included.
	Added, Updated, Deleted, Shown, NotKept, Failures uint64

	// Panics counts the panics of user code, those of Reflector included.
	Panics uint64

	// Unchanged counts objects of passes that were recorded in the same version,
	// Swept the deletions that were concluded from passes, Stale the events of
	// watches that were dropped because they were old news.
	Unchanged, Swept, Stale uint64
}

// Progress is how far a pass has come.
type Progress struct {
	// Objects and Pages is how much was read. There are no pages if the pass is
	// streamed.
	Objects, Pages int64

	// Remaining is how many objects the server says will follow; -1 if it does
	// not say.
	Remaining int64
}

// HeldBack is the change that holds back the resume version.
type HeldBack struct {
	Key store.Key

	// Since is when the change was accepted.
	Since time.Time

	// Failures is how often its handler has failed in a row, Err what it
	// returned last, nil if it has not been called yet or did not fail.
	Failures int
	Err      error
}

// mirrorCounters are the counters of a ResourceVersionInformer.
type mirrorCounters struct {
	objects, pages, remaining                         atomic.Int64 // of the pass
	added, updated, deleted, shown, notKept, failures atomic.Uint64
	unchanged, swept, stale                           atomic.Uint64
}

// Stats returns the figures of the moment. It waits neither for the server nor for
// the handler.
func (i *ResourceVersionInformer[T]) Stats() InformerStats {
	s := InformerStats{
		Name:      i.name,
		Reflector: i.reflector.Info(),
		Synced:    i.HasSynced(),
		Pass: Progress{
			Objects: i.count.objects.Load(), Pages: i.count.pages.Load(), Remaining: i.count.remaining.Load(),
		},
		Recorded:  i.storage.Len(),
		Added:     i.count.added.Load(),
		Updated:   i.count.updated.Load(),
		Deleted:   i.count.deleted.Load(),
		Shown:     i.count.shown.Load(),
		NotKept:   i.count.notKept.Load(),
		Failures:  i.count.failures.Load(),
		Unchanged: i.count.unchanged.Load(),
		Swept:     i.count.swept.Load(),
		Stale:     i.count.stale.Load(),
	}
	state := i.pending.State()
	s.Pending, s.PendingBytes, s.Failing = state.Objects, state.Bytes, state.Failing
	if held := state.Oldest; held != nil {
		s.HeldBack = &HeldBack{Key: held.Key, Since: held.Since, Failures: held.Failures, Err: held.Err}
	}
	s.ResumeVersion = i.ResumeVersion()
	s.Panics = i.panics.Count() + s.Reflector.Panics
	return s
}
