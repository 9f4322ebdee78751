// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// InformerStats is the state of a [ResourceVersionInformer]. Counters start at its
// construction.
type InformerStats struct {
	// Name is the name of the informer.
	Name string

	// Reflector is the state of the reading side. Its Contact is the time of the last
	// contact with the server.
	Reflector informer.ReflectorInfo

	// Synced and ResumeVersion are the results of HasSynced and ResumeVersion.
	Synced        bool
	ResumeVersion string

	// Pass is the progress of the current pass, or of the last one.
	Pass Progress

	// Recorded is the number of objects that are recorded as acknowledged.
	Recorded int

	// Pending is the number of changes that the handler has not acknowledged.
	// PendingBytes is the estimated size of their objects. Failing is the number of keys
	// among them that failed and are retried.
	Pending      int
	PendingBytes int64
	Failing      int

	// HeldBack is the oldest change that is not acknowledged. It holds back the resume
	// version. Nil if all changes are acknowledged.
	HeldBack *HeldBack

	// Added, Updated, Deleted and Shown (OnSync) count acknowledged calls of the handler.
	// NotKept counts objects that the handler or its filter did not keep, see ErrNotKept.
	// Failures counts failed calls, and failures of the storage for the same keys.
	Added, Updated, Deleted, Shown, NotKept, Failures uint64

	// Panics counts the panics of user code, including those in Reflector.
	Panics uint64

	// Unchanged counts objects of passes in the recorded version. Swept counts deletions
	// that were concluded from passes. Stale counts events of watches that were dropped
	// because the record or a pending change was newer.
	Unchanged, Swept, Stale uint64
}

// Progress is the progress of a pass.
type Progress struct {
	// Objects and Pages count what was read. A streamed pass has no pages.
	Objects, Pages int64

	// Remaining is the number of objects that follow, as the server reported it. -1 if
	// it did not.
	Remaining int64
}

// HeldBack is the change that holds back the resume version.
type HeldBack struct {
	Key store.Key

	// Since is when the change was accepted.
	Since time.Time

	// Failures counts the failures in a row. Err is the last one: nil if the handler
	// was not called yet or did not fail.
	Failures int
	Err      error
}

// mirrorCounters are the counters of a ResourceVersionInformer.
type mirrorCounters struct {
	objects, pages, remaining                         atomic.Int64 // of the pass
	added, updated, deleted, shown, notKept, failures atomic.Uint64
	unchanged, swept, stale                           atomic.Uint64
}

// Stats returns the current figures. It waits neither for the server nor for the handler.
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
