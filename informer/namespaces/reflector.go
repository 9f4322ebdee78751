// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// Config configures a [Reflector]. Set, Source and Store are required.
type Config[T any] struct {
	// Name identifies the reflector in logs and errors. Default: the name of T.
	Name string

	// Set is the set of namespaces.
	Set *Set

	// Source returns a source for the objects of a namespace. It is called for each namespace
	// that is added, on the goroutine of Run, and makes no request. NewReflector calls it once
	// for the namespace "default", to check the settings.
	Source func(namespace string) informer.Source[T]

	// Store keeps the objects. It must have no pass and no other parts.
	Store *store.Store[T]

	// Synced is called once, when the store first has the objects of each namespace that is
	// in the set at that moment. A set that is empty at the start is synced at once. Optional.
	Synced func()

	// Settings tune the Reflectors. ListBudget limits the lists of all of them together.
	informer.Settings

	// Observer gets what happens in the Reflectors, with the Namespace of each, and
	// [informer.NamespacesChanged]. Its calls do not overlap. Optional.
	Observer informer.Observer

	// Log is that of [informer.Config].
	Log *slog.Logger
}

// Reflector keeps a store up to date with the namespaces of a [Set], each with an
// [informer.Reflector] and a [store.Part] of its own. It costs the server one list and one
// watch for each namespace.
//
//   - A namespace that is added is listed and watched. The others are not touched.
//   - A namespace that is removed is deleted from the store, object by object, also while
//     its list is under way.
//   - Changes of the set that follow each other before Run sees them are merged. A namespace
//     that was removed and added again meanwhile is not touched.
//   - A namespace that fails, for example without permission, does not delay the others.
type Reflector[T any] struct {
	cfg     Config[T]
	root    *informer.Reflector[T] // of no namespace; it does not run
	panics  *usercode.Panics
	started atomic.Bool

	mu      sync.Mutex
	members map[string]*member[T]  // by namespace; Run changes it
	leaving []*member[T]           // removed, and their Reflectors have not ended
	past    informer.ReflectorInfo // the counters of those that have ended
	synced  bool
}

// member follows one namespace.
type member[T any] struct {
	namespace string
	part      *store.Part[T]
	reflector *informer.Reflector[T]
	cancel    context.CancelFunc
	before    *member[T]    // the last one of the namespace, which must end first, or nil
	ended     chan struct{} // closed when reflector has ended
	synced    bool          // guarded by mu of the Reflector
}

// NewReflector returns a Reflector that does nothing until Run. It fails if a required value
// is missing, or a setting makes no sense.
func NewReflector[T any](cfg Config[T]) (*Reflector[T], error) {
	switch {
	case cfg.Set == nil:
		return nil, errors.New("Config.Set is nil: set it to a Set of NewSet")
	case cfg.Source == nil:
		return nil, errors.New("Config.Source is nil: set it to a function that returns the source of a namespace")
	case cfg.Store == nil:
		return nil, errors.New("Config.Store is nil: set it to a store of store.New")
	}
	cfg.Observer = informer.SerialObserver(cfg.Observer)
	if cfg.Name == "" {
		cfg.Name = check.TypeName[T]()
	}
	r := &Reflector[T]{cfg: cfg, panics: usercode.New(cfg.Name, cfg.Log), members: map[string]*member[T]{}}
	err := r.panics.Try("source of a namespace", store.Key{}, func() (err error) {
		r.root, err = informer.NewReflector(informer.Config[T]{
			Name: cfg.Name, Source: cfg.Source("default"), Sink: cfg.Store, Settings: cfg.Settings, Observer: cfg.Observer, Log: cfg.Log,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Run follows the set until ctx ends, and returns the cause of ctx. The objects stay in the
// store. A second call returns an error at once. When Run has returned, no request is under
// way and no goroutine is left, as for an [informer.Reflector].
func (r *Reflector[T]) Run(ctx context.Context) error {
	if !r.started.CompareAndSwap(false, true) {
		return fmt.Errorf("reflector %s: Run was called before: make a new Reflector to run again", r.cfg.Name)
	}
	var running sync.WaitGroup
	defer running.Wait()
	for first := true; ctx.Err() == nil; first = false {
		names, changed := r.cfg.Set.watch()
		r.follow(ctx, &running, names, first)
		r.checkSynced()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

// follow makes names, which are sorted, the members.
func (r *Reflector[T]) follow(ctx context.Context, running *sync.WaitGroup, names []string, first bool) {
	removed := r.leave(names)
	for _, m := range removed {
		m.cancel()
	}
	changed := informer.NamespacesChanged{Count: len(names)}
	for _, m := range removed {
		if m.part != nil {
			m.part.Remove()
		}
		changed.Removed = append(changed.Removed, m.namespace)
	}
	slices.Sort(changed.Removed)
	var added []*member[T]
	for _, name := range names {
		if r.members[name] == nil {
			added = append(added, r.newMember(name))
			changed.Added = append(changed.Added, name)
		}
	}
	if first || len(removed)+len(added) > 0 {
		r.Report(changed)
	}
	for _, m := range added {
		r.join(ctx, running, m)
	}
}

// leave takes the members that are not in names out of the members, and returns them.
func (r *Reflector[T]) leave(names []string) (removed []*member[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, m := range r.members {
		if _, stays := slices.BinarySearch(names, name); !stays {
			delete(r.members, name)
			removed = append(removed, m)
		}
	}
	r.leaving = append(r.leaving, removed...)
	return removed
}

// join runs the reflector of m.
func (r *Reflector[T]) join(ctx context.Context, running *sync.WaitGroup, m *member[T]) {
	ctx, m.cancel = context.WithCancel(ctx)
	r.mu.Lock()
	for _, other := range r.leaving {
		if other.namespace == m.namespace {
			m.before = other
		}
	}
	r.members[m.namespace] = m
	r.mu.Unlock()
	running.Go(func() {
		defer close(m.ended)
		if m.before != nil {
			<-m.before.ended
			m.before = nil
		}
		_ = m.reflector.Run(ctx) // ends with ctx only
		m.cancel()
		r.left(m)
	})
}

// left counts a member that has ended as past, if it was removed.
func (r *Reflector[T]) left(m *member[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.leaving, m); i >= 0 {
		r.leaving = slices.Delete(r.leaving, i, i+1)
		add(&r.past, m.reflector.Info())
	}
}

// checkSynced calls Synced if the store has the objects of each namespace that is in the set
// now.
func (r *Reflector[T]) checkSynced() {
	if r.becomesSynced() && r.cfg.Synced != nil {
		r.cfg.Synced()
	}
}

func (r *Reflector[T]) becomesSynced() bool {
	names := r.cfg.Set.Names()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced {
		return false
	}
	for _, name := range names {
		if m := r.members[name]; m == nil || !m.synced {
			return false
		}
	}
	r.synced = true
	return true
}

// committed is called when the part of m has a complete state.
func (r *Reflector[T]) committed(m *member[T]) {
	r.mu.Lock()
	m.synced = true
	r.mu.Unlock()
	r.checkSynced()
}

// Resync calls Resync of each [informer.Reflector].
func (r *Reflector[T]) Resync(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		m.reflector.Resync(cause)
	}
}

// Report passes an occurrence that belongs to no namespace to the observer, as
// [informer.Reflector.Report] does.
func (r *Reflector[T]) Report(o informer.ReflectorEvent) { r.root.Report(o) }
