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

// ExtraStore is what a reflector of client-go fills: each cache.Store,
// cache.Indexer and cache.Queue is one, and whatever else has these methods.
// [StoreSink] makes a [store.Sink] of it, and says which of them is called when.
//
// Calls come from one goroutine at a time. The objects are shared and must not be
// modified, see [StoreSink] for who transforms them; KUBE_CACHE_MUTATION_DETECTOR finds
// who does, see store.DetectMutations.
type ExtraStore interface {
	// Add and Update say that the object is as given. Neither may fail because
	// there is, or is not, such an object already.
	Add(obj any) error
	Update(obj any) error

	// Delete says that the object is gone. It is given the last state, or a
	// cache.DeletedFinalStateUnknown if that is not known; a cache.Store is given what it
	// has. Whether there is
	// such an object is for the store to know.
	Delete(obj any) error

	// Replace says that these are all the objects, as of version. What is not
	// among them is gone. The store owns the list.
	Replace(list []any, version string) error
}

// StoreSink makes a sink of a store or a queue of client-go, or of another
// [ExtraStore].
//
//   - A pass is collected, and handed over by one Replace when it is complete, as
//     client-go's own reflector does: so a queue finds deletions, and knows when
//     it is synced. Of a pass that breaks off s hears nothing.
//   - Outside of a pass an object is told by Update, and by Add if s has a
//     GetByKey, as a cache.Store does, which does not find it. So of a DeltaFIFO
//     or a RealFIFO, which have none, consumers get deltas of type Updated for
//     objects that are new. They need to ask what they know in any case: a list
//     brings new and known ones as Replaced. With a GetByKey the sink ignores as
//     well what [store.Stale] and [store.Superseded] say is old news.
//   - If s is a cache.ResourceVersionUpdater it is told the version after each
//     change that it accepted, and of progress; Replace says it for a pass. If it
//     has a method Bookmark, as stores and queues of client-go do, that is told of
//     progress.
//   - An error of s is returned, and so the Reflector reports it and offers the
//     object, or the whole pass, again after a backoff.
//
// An object that the source cannot decode stays as s has it. That needs a GetByKey, and for
// an object without a name a ListKeys as well, as a cache.Store has. Of any other s, such as a
// queue, a pass with such an object fails.
//
// During a pass this costs a pointer and a key for each object of the collection,
// and all the objects of its new state while s still has those of the old one,
// whether they changed or not. [store.Store] is a sink that spares this.
//
// A cache.TransformingStore, as a DeltaFIFO or a RealFIFO with a Transformer is, may
// modify objects in place: they are not taken for shared. Nobody can see of others, as of
// a store with cache.WithTransformer, that they transform. The source of any of them has
// to be [source.WithoutSharing], unless they do it to copies; and what a store of which nobody
// can see it does in place is a modification to the mutation detector.
//
// The sink blocks for as long as s does, but not within a pass, before its end. A
// DeltaFIFO does while one of its items is processed.
//
// If s is nil [informer.NewReflector] fails.
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

// NewNamedReflector returns a [informer.Reflector] that fills s, a store or a queue of
// client-go, with the objects of lw, which must be Ts. The name tells it from others
// in logs and errors. What happens is logged to slog.Default() as by [informer.LogObserver].
//
// It is NewReflector of a [informer.Config] with [source.FromListerWatcher] and [StoreSink]: use that
// for other settings. Resync of s is not called; [NewNamedController] does that. Lw is
// read [source.WithoutSharing] if s is a cache.TransformingStore that has a transformer; for a
// store with one that is none, as of cache.WithTransformer, use NewReflector and say so.
//
// It fails if lw or s is nil.
func NewNamedReflector[T any](name string, lw cache.ListerWatcher, s ExtraStore) (*informer.Reflector[T], error) {
	return informer.NewReflector(informer.Config[T]{
		Name: name, Source: sourceFor[T](s, lw), Sink: StoreSink[T](s), Observer: informer.LogObserver(slog.Default()),
	})
}

// sourceFor reads lw for s, which has objects for itself if it may modify them.
func sourceFor[T any](s ExtraStore, lw cache.ListerWatcher, opts ...source.SourceOption) informer.Source[T] {
	if transforms(s) {
		opts = append(slices.Clip(opts), source.WithoutSharing())
	}
	return source.FromListerWatcher[T](lw, nil, opts...)
}

// transforms reports whether s says that it modifies objects before it shows them.
func transforms(s ExtraStore) bool {
	t, ok := s.(cache.TransformingStore)
	return ok && !check.IsNil(t) && t.Transformer() != nil
}

// NewNamespaceKeyedIndexerAndReflector returns an empty cache.Indexer and the
// [informer.Reflector] that will fill it once it runs, as by [NewNamedReflector]. Objects are
// keyed by namespace and name, and indexed by namespace under cache.NamespaceIndex.
//
// It fails if lw is nil.
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
	keys     cache.KeyGetter              // nil: what the store has is not known
	updater  cache.ResourceVersionUpdater // nil: it is not one
	bookmark func(version string) error

	pass *collected // nil outside of a pass

	// version is the last one that is known. Unversioned is set if the last pass
	// had none: what objects say is no version of the collection then.
	version     string
	unversioned bool
}

// Validate reports how s was made wrongly. [informer.NewReflector] calls it.
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

// Keep implements [store.Keeper], if the store shows what it has. What a queue has is not
// known: it would report a deletion of what Replace lacks.
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

// keepAll adds to the pass what it lacks of what the store has.
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

// held returns what the store has under key, and the meta of that if it can be
// told.
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

// reached tells of a version, unless it is none or an older one.
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

	whole bool // what the store has besides stays
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

// all returns the objects. Nothing may be called after it.
func (c *collected) all() []any {
	if len(c.at) == len(c.list) {
		return c.list
	}
	return slices.DeleteFunc(c.list, func(obj any) bool { return obj == nil })
}

var errNoStore = errors.New("StoreSink was given no store: give a cache.Store, a cache.Queue, or what has the methods of ExtraStore")

// noStore stands for a store that is nil.
type noStore struct{}

func (noStore) Add(any) error               { return errNoStore }
func (noStore) Update(any) error            { return errNoStore }
func (noStore) Delete(any) error            { return errNoStore }
func (noStore) Replace([]any, string) error { return errNoStore }
