// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
)

// Store keeps a collection of objects in memory, with indexes. It is a [Sink] that a
// source fills and keeps up to date. Any number of goroutines can read it at any time.
// Make one with [New]. A Store must not be copied.
//
// The objects are shared, not copied. Readers, index functions and observers must not
// modify them.
//
// Readers delay the source at most for the lookup of a key, for collections of any size.
// Lists and iterators read a snapshot, which costs nothing to take, and hold no lock. The
// source delays readers for one change of one object at a time, and [Store.Replace] for
// the exchange of a few pointers. Index functions and OnChange run without the locks of
// the readers.
//
// A [Snapshot] keeps its objects in memory as long as it is in use, and so does an
// iteration that has not ended. Changes after a snapshot first copy the changed part,
// once, in pieces of a few kilobytes.
type Store[T any] struct {
	name         string
	onChange     func(Change[T])
	onState      func(Snapshot[T]) // of an UndeltaStore
	onIndexError func(error)

	// writing is held for a whole change, including index functions. It guards the passes
	// of parts, and the fields of records that only writers use. With it, everything below
	// can be read without the other locks.
	writing sync.Mutex
	all     Part[T]             // what the methods of Sink fill
	parts   map[string]*Part[T] // by namespace; nil before AddPart
	terms   terms[T]            // scratch of termsOf

	// mu guards the state that readers see, and is held only while it changes. byKey has
	// further locks, for lookups of keys. They are taken after mu.
	mu         sync.RWMutex
	byKey      table[T]
	records    cow[*Record[T]]
	indexes    []*index[T] // by ordinal; replaced, not changed
	version    string
	generation uint64 // counts changes
	notices    uint64 // counts notices for onChange and onState
	stated     bool   // there was a whole state
	unsettled  int    // number of parts that are Part.unsettled
	unpushed   bool   // something changed since the last onState

	// epoch is the epoch of everything that no snapshot has; see cow. shared is true if
	// there is a snapshot of this epoch. It is set under the read lock of mu.
	epoch  uint64
	shared atomic.Bool

	changes changeSignal // for WaitFor and Snapshots
	order   sequencer    // of calls of onChange and onState

	stale, indexErrors, commits, aborts, swept atomic.Uint64
}

// Config of a [Store]. The zero value is usable.
type Config[T any] struct {
	// Name is used in errors. Default: the name of T.
	Name string

	// Indexers are the index functions by name. Default: none. [Store.AddIndexers] adds
	// more.
	Indexers Indexers[T]

	// OnChange is called with each effective change, in order and one call at a time. The
	// goroutine that makes the change calls it, before its method returns. The change is
	// then visible to readers. No lock is held. OnChange can read the store, and can
	// block if the source can wait. It must not change the store, since the change would
	// wait for OnChange.
	//
	// Default: none. An update then allocates nothing if the metadata of the object are
	// equal to the Meta from the source, and if no snapshot has the previous state.
	OnChange func(Change[T])

	// OnIndexError is called with an [*IndexError] for each failure of an index function,
	// after the object is stored and before OnChange. The same rules hold as for OnChange.
	// The goroutine that makes the change, or that calls [Store.AddIndexers], calls it.
	// Default: failures are only counted, in [Stats].
	OnIndexError func(error)
}

// ChangeKind is the kind of a [Change].
type ChangeKind uint8

const (
	// Added: the store did not hold the key.
	Added ChangeKind = iota + 1

	// Updated: the store held another state of the object, or another object with the
	// same key.
	Updated

	// Deleted: the store no longer holds the key.
	Deleted
)

// String returns the kind in lower case.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "added"
	case Updated:
		return "updated"
	case Deleted:
		return "deleted"
	default:
		return "ChangeKind(" + strconv.Itoa(int(k)) + ")"
	}
}

// Change is an effective change of a [Store].
type Change[T any] struct {
	Kind ChangeKind

	// Meta is the meta of New if Added or Updated. If Deleted, it is that of the deletion
	// from the source, or the last known meta if the deletion was concluded from a pass.
	Meta Meta

	// OldMeta is the meta of Old, zero if Added. If Updated and OldMeta is not of the same
	// object as Meta ([Meta.SameObject]), Old was deleted and New was created with its
	// key.
	OldMeta Meta

	// Old is the previous state, zero if Added.
	Old T

	// New is the current state. If Deleted, it is the last state of the object from the
	// source, zero if the source did not send it.
	New T

	// Generation is the generation of the store after this change, see
	// [Store.Generation].
	Generation uint64

	// InPass is true for a change that a pass found, and false for one that the watch
	// delivered.
	InPass bool

	// Record is the record of New, or of Old if Deleted. Only OnChange gets it.
	Record *Record[T]

	replaced *Record[T] // its tag goes to Record; nil afterwards

	oldRefs, refs []ref[T] // of Old and New, only for OnChange
}

// Tag returns the number that OnChange has set for the key, zero for a new key. Only
// OnChange can call it.
func (c Change[T]) Tag() uint32 { return c.Record.tag }

// SetTag stores a number with the key until the key is deleted. Only OnChange can call it.
func (c Change[T]) SetTag(tag uint32) { c.Record.setTag(tag) }

// EachValue calls f with each value that Old or New has in the index x, in order. had is
// true for the values of Old, and has for those of New. Only OnChange can call it.
func (c Change[T]) EachValue(x Index[T], f func(value string, had, has bool)) {
	old, now := refsOf(c.oldRefs, x.index), refsOf(c.refs, x.index)
	for len(old) > 0 || len(now) > 0 {
		switch {
		case len(now) == 0 || len(old) > 0 && old[0].value.text < now[0].value.text:
			f(old[0].value.text, true, false)
			old = old[1:]
		case len(old) == 0 || now[0].value.text < old[0].value.text:
			f(now[0].value.text, false, true)
			now = now[1:]
		default:
			f(now[0].value.text, true, true)
			old, now = old[1:], now[1:]
		}
	}
}

// refsOf returns the refs of one index. They are next to each other.
func refsOf[T any](refs []ref[T], ix *index[T]) []ref[T] {
	from := 0
	for from < len(refs) && refs[from].value.index != ix {
		from++
	}
	to := from
	for to < len(refs) && refs[to].value.index == ix {
		to++
	}
	return refs[from:to]
}

// Stats describes a [Store]. Counters count from its construction.
type Stats struct {
	// Objects is the number of objects.
	Objects int

	// Indexes is the number of indexes.
	Indexes int

	// Stale counts changes that were dropped because the store had the same state or a
	// newer one.
	Stale uint64

	// IndexErrors counts failures of index functions.
	IndexErrors uint64

	// Commits counts complete passes, and Aborts aborted ones.
	Commits, Aborts uint64

	// Swept counts deletions that were concluded from passes, or from the removal of a part.
	Swept uint64
}

// New makes an empty store. It fails if an index has no name or no function.
func New[T any](cfg Config[T]) (*Store[T], error) {
	s := &Store[T]{
		name:         cfg.Name,
		onChange:     cfg.OnChange,
		onIndexError: cfg.OnIndexError,
		byKey:        newTable[T](),
		epoch:        1,
	}
	s.all.store = s
	s.order.init()
	if s.name == "" {
		s.name = reflect.TypeFor[T]().String()
	}
	if err := s.AddIndexers(cfg.Indexers); err != nil {
		return nil, err
	}
	return s, nil
}

// Stats returns the current figures. It never waits for the source.
func (s *Store[T]) Stats() Stats {
	rlock(&s.mu)
	objects, indexes := s.records.len(), len(s.indexes)
	s.mu.RUnlock()
	return Stats{
		Objects:     objects,
		Indexes:     indexes,
		Stale:       s.stale.Load(),
		IndexErrors: s.indexErrors.Load(),
		Commits:     s.commits.Load(),
		Aborts:      s.aborts.Load(),
		Swept:       s.swept.Load(),
	}
}
