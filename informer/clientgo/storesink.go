// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// ExtraStore has the methods that a reflector of client-go calls: each cache.Store,
// cache.Indexer and cache.Queue is one. [StoreSink] makes a [store.Sink] of it, and documents
// when each method is called.
//
// Calls come from one goroutine at a time. The objects are shared and must not be modified.
// See [StoreSink] for stores that transform objects. KUBE_CACHE_MUTATION_DETECTOR finds
// modifications, see store.DetectMutations.
type ExtraStore interface {
	// Add and Update set the state of an object. Neither may fail because the store has,
	// or does not have, the object already.
	Add(obj any) error
	Update(obj any) error

	// Delete removes an object. It gets the last state, or a cache.DeletedFinalStateUnknown
	// if that is not known. A cache.Store gets the object that it has. It must accept
	// an object that the store does not have.
	Delete(obj any) error

	// Replace replaces all objects by list, as of version. The store owns list.
	Replace(list []any, version string) error
}

// StoreSink makes a sink of a store or a queue of client-go, or of another [ExtraStore].
//
//   - Replace is called when a pass is complete, with all its objects, as client-go's
//     reflector does: a queue then finds deletions and is synced. A pass that breaks off
//     causes no call.
//   - Outside of a pass, Update is called for an object. If s has a GetByKey, as a
//     cache.Store, Add is called for an object that GetByKey does not find, and events
//     that are old by [store.Stale] or [store.Superseded] are ignored. A DeltaFIFO or a
//     RealFIFO has no GetByKey: its consumers get deltas of type Updated for new objects,
//     and Replaced for all objects of a list. They must check what they know.
//   - A cache.ResourceVersionUpdater gets the version after each accepted change and on
//     progress; for a pass, Replace has it. A method Bookmark, which stores and queues of
//     client-go have, is called on progress.
//   - An error of s is returned. The Reflector reports it and offers the object, or the
//     whole pass, again after a backoff.
//   - The sink blocks while s blocks, within a pass only at its end. A DeltaFIFO blocks
//     while one of its items is processed.
//
// An object that the source cannot decode stays in s as it is. That needs a GetByKey, and for
// an object without a name also a ListKeys, as a cache.Store has. For any other s, such as a
// queue, a pass with such an object fails.
//
// During a pass, the sink keeps a pointer and a key for each object, and all objects of the
// new state while s still has those of the old one. [store.Store] is a sink without this cost.
//
// A cache.TransformingStore with a transformer, such as a DeltaFIFO, can modify objects in
// place, so its objects do not count as shared. Other transforms, such as
// cache.WithTransformer, are not detected. The source of both must be
// [source.WithoutSharing], unless they transform copies. The mutation detector reports
// transforms in place that are not detected.
//
// If s is nil, [informer.NewReflector] returns an error.
func StoreSink[T any](s ExtraStore) store.Sink[T] {
	if check.IsNil(s) {
		s = noStore{}
	}
	sink := &storeSink[T]{store: s, bookmark: func(string) error { return nil }}
	sink.keys, _ = s.(cache.KeyGetter)
	sink.updater, _ = s.(cache.ResourceVersionUpdater)
	switch b := s.(type) {
	case cache.ReflectorBookmarkStore:
		sink.bookmark = b.Bookmark
	case interface{ Bookmark(version string) }: // cache.Store
		sink.bookmark = func(version string) error { b.Bookmark(version); return nil }
	}
	return sink
}

// NewNamedReflector returns an [informer.Reflector] that fills s, a store or a queue of
// client-go, with the objects of lw, which must be Ts. The name identifies it in logs and
// errors. It logs to slog.Default() as [informer.LogObserver] does.
//
// For other settings, use an [informer.Config] with [source.FromListerWatcher] and
// [StoreSink]. Resync of s is not called: see [NewNamedController]. lw is read
// [source.WithoutSharing] if s is a cache.TransformingStore with a transformer. A store with
// cache.WithTransformer is not detected: use an informer.Config with that option.
//
// It returns an error if lw or s is nil.
func NewNamedReflector[T any](name string, lw cache.ListerWatcher, s ExtraStore) (*informer.Reflector[T], error) {
	return informer.NewReflector(informer.Config[T]{
		Name: name, Source: sourceFor[T](s, lw), Sink: StoreSink[T](s), Observer: informer.LogObserver(slog.Default()),
	})
}

// sourceFor returns a source of lw for s. Objects are not shared if s can modify them.
func sourceFor[T any](s ExtraStore, lw cache.ListerWatcher, opts ...source.SourceOption) informer.Source[T] {
	if transforms(s) {
		opts = append(slices.Clip(opts), source.WithoutSharing())
	}
	return source.FromListerWatcher[T](lw, nil, opts...)
}

// transforms reports whether s has a transformer, which can modify objects.
func transforms(s ExtraStore) bool {
	t, ok := s.(cache.TransformingStore)
	return ok && !check.IsNil(t) && t.Transformer() != nil
}

// NewNamespaceKeyedIndexerAndReflector returns an empty cache.Indexer, and an
// [informer.Reflector] that fills it once it runs, as by [NewNamedReflector]. Objects are
// keyed by namespace and name, and indexed by namespace under cache.NamespaceIndex.
//
// It returns an error if lw is nil.
func NewNamespaceKeyedIndexerAndReflector[T any](lw cache.ListerWatcher) (cache.Indexer, *informer.Reflector[T], error) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	r, err := NewNamedReflector[T]("", lw, indexer)
	if err != nil {
		return nil, nil, err
	}
	return indexer, r, nil
}

type storeSink[T any] struct {
	store.SinkDefaults
	store    ExtraStore
	keys     cache.KeyGetter              // nil: the content of the store is not known
	updater  cache.ResourceVersionUpdater // or nil
	bookmark func(version string) error

	pass *collected // nil outside of a pass

	// version is the last known one. unversioned is set if the last pass had none: the
	// versions of objects are then not versions of the collection.
	version     string
	unversioned bool
}

// Validate returns an error if s has no store. [informer.NewReflector] calls it.
func (s *storeSink[T]) Validate() error {
	if s.store == (noStore{}) {
		return errNoStore
	}
	return nil
}

// SharesObjects implements [store.Sharing].
func (s *storeSink[T]) SharesObjects() bool { return !transforms(s.store) }

// Begin implements [store.Sink].
func (s *storeSink[T]) Begin(context.Context, store.Pass) error {
	s.pass = &collected{list: []any{}, at: map[store.Key]int{}}
	return nil
}

// Apply implements [store.Sink].
func (s *storeSink[T]) Apply(_ context.Context, meta store.Meta, obj T) error {
	if s.pass != nil {
		s.pass.set(meta.Key, obj)
		return nil
	}
	_, held, exists, err := s.held(meta.Key)
	switch {
	case err != nil:
		return err
	case held.Key == meta.Key && store.Stale(meta, held):
		return nil
	case exists || s.keys == nil:
		err = s.store.Update(obj)
	default:
		err = s.store.Add(obj)
	}
	if err != nil {
		return err
	}
	s.reached(meta.Version)
	return nil
}

// Keep implements [store.Keeper], if the store has a GetByKey. The content of a queue is not
// known: it would report a deletion of each object that Replace lacks.
func (s *storeSink[T]) Keep(_ context.Context, meta store.Meta) error {
	if s.keys == nil {
		return errors.ErrUnsupported
	}
	if meta.Key.Name == "" {
		if _, ok := s.keys.(cache.KeyLister); !ok {
			return errors.ErrUnsupported
		}
		s.pass.whole = true
		return nil
	}
	obj, held, exists, err := s.held(meta.Key)
	if err != nil {
		return err
	}
	if _, came := s.pass.at[meta.Key]; exists && !came && (held.Key != meta.Key || meta.SameObject(held)) {
		s.pass.set(meta.Key, obj)
	}
	return nil
}

// keepAll adds the objects of the store that the pass lacks to the pass.
func (s *storeSink[T]) keepAll() error {
	came := make(map[string]bool, len(s.pass.at))
	for key := range s.pass.at {
		came[key.String()] = true
	}
	for _, key := range s.keys.(cache.KeyLister).ListKeys() {
		if came[key] {
			continue
		}
		obj, exists, err := s.keys.GetByKey(key)
		if err != nil {
			return err
		}
		if exists {
			s.pass.list = append(s.pass.list, obj)
		}
	}
	return nil
}

// Delete implements [store.Sink].
func (s *storeSink[T]) Delete(_ context.Context, meta store.Meta, last T, known bool) error {
	if s.pass != nil {
		s.pass.remove(meta.Key)
		return nil
	}
	obj, held, exists, err := s.held(meta.Key)
	_, isStore := s.store.(cache.Store) // whose key function need not know tombstones
	switch {
	case err != nil:
		return err
	case held.Key == meta.Key && store.Superseded(meta, held):
		return nil
	case known:
		err = s.store.Delete(last)
	case isStore && exists:
		err = s.store.Delete(obj)
	case isStore:
	default:
		err = s.store.Delete(cache.DeletedFinalStateUnknown{Key: meta.Key.String(), Obj: obj})
	}
	if err != nil {
		return err
	}
	s.reached(meta.Version)
	return nil
}

// Commit implements [store.Sink].
func (s *storeSink[T]) Commit(_ context.Context, version string) error {
	if s.pass == nil {
		return fmt.Errorf("%w: call Begin before Commit", store.ErrNoPass)
	}
	if s.pass.whole {
		if err := s.keepAll(); err != nil {
			return err
		}
	}
	list := s.pass.all()
	s.pass = nil
	if err := s.store.Replace(list, version); err != nil {
		return err
	}
	s.version, s.unversioned = version, version == ""
	return nil
}

// Abort implements [store.Sink].
func (s *storeSink[T]) Abort(store.Pass, error) { s.pass = nil }

// Progress implements [store.Sink].
func (s *storeSink[T]) Progress(_ context.Context, version string) error {
	if err := s.bookmark(version); err != nil {
		return err
	}
	s.unversioned = false
	s.reached(version)
	return nil
}

// held returns the object that the store has under key, and its meta if it has metadata.
func (s *storeSink[T]) held(key store.Key) (obj any, held store.Meta, exists bool, err error) {
	if s.keys == nil {
		return nil, held, false, nil
	}
	obj, exists, err = s.keys.GetByKey(key.String())
	if err != nil || !exists {
		return nil, held, false, err
	}
	if o, err := meta.Accessor(obj); err == nil {
		held = store.MetaOf(o)
	}
	return obj, held, true, nil
}

// reached calls the updater with a version, unless it is empty or older than the last one.
func (s *storeSink[T]) reached(version string) {
	if s.updater == nil || s.unversioned || version == "" {
		return
	}
	if order, ordered := store.CompareVersions(version, s.version); ordered && order < 0 {
		return
	}
	s.version = version
	s.updater.UpdateResourceVersion(version)
}

// collected are the objects of a pass, in the order in which they came.
type collected struct {
	list []any // nil: removed
	at   map[store.Key]int

	whole bool // objects of the store that the pass lacks stay
}

func (c *collected) set(key store.Key, obj any) {
	if i, ok := c.at[key]; ok {
		c.list[i] = obj
		return
	}
	c.at[key] = len(c.list)
	c.list = append(c.list, obj)
}

func (c *collected) remove(key store.Key) {
	if i, ok := c.at[key]; ok {
		c.list[i] = nil
		delete(c.at, key)
	}
}

// all returns the objects. collected must not be used afterwards.
func (c *collected) all() []any {
	if len(c.at) == len(c.list) {
		return c.list
	}
	return slices.DeleteFunc(c.list, func(obj any) bool { return obj == nil })
}

var errNoStore = errors.New("StoreSink was given no store: give a cache.Store, a cache.Queue or another ExtraStore")

// noStore stands for a store that is nil.
type noStore struct{}

func (noStore) Add(any) error               { return errNoStore }
func (noStore) Update(any) error            { return errNoStore }
func (noStore) Delete(any) error            { return errNoStore }
func (noStore) Replace([]any, string) error { return errNoStore }
