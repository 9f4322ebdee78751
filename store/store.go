// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
)

// Store keeps a collection of objects in memory, with indexes. It is a [Sink]:
// a source fills it and keeps it up to date. Everything else about it is for
// reading, by any number of goroutines at any time.
//
// Readers get objects as they were handed over, not copies of them: they must
// not be modified, neither by readers nor by index functions or observers.
//
// No reader holds up the source for longer than it takes to look up a key,
// whatever the size of the collection: lists and iterators work on a snapshot,
// which costs nothing to take, and hold no lock. The source in turn holds up
// readers for one change of one object at a time, and [Store.Replace] for as long
// as it takes to exchange two pointers; index functions and the observer run
// without the readers' locks.
//
// A [Snapshot] keeps what it has in memory as long as it is in use. So does an
// iteration that does not go on. What is changed after a snapshot was taken is
// copied first, once, in pieces of some kilobytes.
//
// Make one with [New]. A Store must not be copied.
type Store[T any] struct {
	name         string
	onChange     func(Change[T])
	onState      func(Snapshot[T]) // of an UndeltaStore
	onIndexError func(error)

	// writing is held for a whole change, index functions included. It guards
	// the pass, and of the records what only writers look at. Who holds it
	// reads everything below without the other locks. Whether there is a pass is
	// changed with mu as well, so who has either may look.
	writing sync.Mutex
	pass    pass
	terms   terms[T] // scratch of termsOf

	// mu guards what readers see, and is held only while that is changed. byKey
	// has further locks, for those who only look up a key; they are taken after
	// mu.
	mu         sync.RWMutex
	byKey      table[T]
	records    cow[*Record[T]]
	indexes    []*index[T] // by ordinal; replaced, not changed
	version    string
	generation uint64 // counts changes
	notices    uint64 // counts what is told
	stated     bool   // what is here is, or was, a whole state
	unpushed   bool   // something changed since onState was told

	// epoch is that of all that no snapshot has; see cow. Shared says that there
	// is a snapshot of it. It is set under the read lock of mu.
	epoch  uint64
	shared atomic.Bool

	changes changeSignal // for WaitFor and Snapshots
	order   sequencer    // of calls of onChange and onState

	stale, indexErrors, commits, aborts, swept atomic.Uint64
}

// Config of a [Store]. The zero value is usable.
type Config[T any] struct {
	// Name stands in errors. Default: the name of T.
	Name string

	// Indexers are the indexes by name. Default: none. [Store.AddIndexers]
	// adds more.
	Indexers Indexers[T]

	// OnChange is told each effective change, one after the other in the order
	// in which they were made, by the goroutine that makes it and before the
	// method returns that did. The change is visible to readers by then. No
	// lock is held: it may read the store, and may take its time if the source
	// can wait. It must not change the store: that would wait for OnChange.
	// Default: nobody is told, and an update of an object whose metadata say what
	// the source says, and of which there is no snapshot, allocates nothing.
	OnChange func(Change[T])

	// OnIndexError is told of each failure of an index function, as an
	// [*IndexError], once the object is stored and before OnChange, and may do
	// what that may. It is called by the goroutine that makes the change, or that
	// calls [Store.AddIndexers]. Default: failures are only counted, in [Stats].
	OnIndexError func(error)
}

// ChangeKind says what kind of a [Change] there was.
type ChangeKind uint8

const (
	// Added: the store did not hold the key.
	Added ChangeKind = iota + 1

	// Updated: the store held another state of the object, or another object
	// of the same key.
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

	// Meta of the change. If Added or Updated: of New. If Deleted: as the
	// deletion was told by the source; the last known meta if it was concluded
	// from a pass.
	Meta Meta

	// OldMeta is the meta of Old, zero if Added. If Updated and its UID is not
	// that of Meta ([Meta.SameObject] tells) then Old was deleted, and New was
	// created under its key.
	OldMeta Meta

	// Old is the state that the store held, zero if Added.
	Old T

	// New is the state that the store holds now. If Deleted: the last state of
	// Old as the deletion told it, zero if it did not.
	New T

	// Generation is that of the store with this change, see [Store.Generation].
	Generation uint64

	// Record is the store's record of New; if Deleted, of Old. Only OnChange
	// gets it.
	Record *Record[T]

	replaced *Record[T] // its tag goes to Record; nil afterwards
}

// Tag returns the number that OnChange has set for the key, zero for a key that is
// new. Only OnChange can call it.
func (c Change[T]) Tag() uint32 { return c.Record.tag }

// SetTag keeps a number of the observer with the key, until the key is deleted. Only
// OnChange can call it.
func (c Change[T]) SetTag(tag uint32) { c.Record.tag = tag }

// Stats of a [Store]. Counters count from its construction.
type Stats struct {
	// Objects is how many objects the store holds.
	Objects int

	// Indexes is how many indexes there are.
	Indexes int

	// Stale counts changes that were dropped because the store held the same
	// state or a newer one.
	Stale uint64

	// IndexErrors counts failures of index functions.
	IndexErrors uint64

	// Commits counts completed passes, Aborts those that broke off.
	Commits, Aborts uint64

	// Swept counts the deletions that were concluded from passes.
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
	s.order.init()
	if s.name == "" {
		s.name = reflect.TypeFor[T]().String()
	}
	if err := s.AddIndexers(cfg.Indexers); err != nil {
		return nil, err
	}
	return s, nil
}

// Stats returns the figures of the moment. It never waits for the source.
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
