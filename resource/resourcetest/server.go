// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// server is an API server of one collection, and an informer.Source of it.
type server[T runtime.Object] struct {
	mu      sync.Mutex
	version int64
	objects map[store.Key]entry[T]
	dead    map[types.UID]struct{}
	uids    int

	// log holds the changes after version horizon, which can still be requested.
	log     []change[T]
	horizon int64

	synced   bool
	syncedAt int64

	failing    error // the error of every request
	interrupts int   // how often open requests were ended
	listErr    error // with which the last interrupt ended lists

	snapshot *snapshot[T] // of the continue tokens
	streams  map[*stream[T]]struct{}
	requests Requests

	changed chan struct{} // closed at the next change, if not nil
}

// entry is one version of an object. It is immutable.
type entry[T runtime.Object] struct {
	meta store.Meta
	obj  T
}

type change[T runtime.Object] struct {
	kind    watch.EventType
	version int64
	entry[T]
}

// snapshot is the state that a paged list reads.
type snapshot[T runtime.Object] struct {
	version int64
	entries []entry[T]
}

func newServer[T runtime.Object]() *server[T] {
	return &server[T]{
		version: 1,
		objects: map[store.Key]entry[T]{},
		dead:    map[types.UID]struct{}{},
		streams: map[*stream[T]]struct{}{},
	}
}

// wake wakes all goroutines that wait for next. It requires the mutex.
func (s *server[T]) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// next returns a channel that is closed at the next change. It requires the mutex.
func (s *server[T]) next() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

// upsert stores obj, which it owns, and returns the stored object.
func (s *server[T]) upsert(obj T) (T, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return obj, err
	}
	key := store.MetaOf(accessor).Key
	if key.Name == "" {
		return obj, fmt.Errorf("the object (%T) has no name", obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	held, exists := s.objects[key]
	uid := accessor.GetUID()
	if _, was := s.dead[uid]; was {
		uid = ""
	}
	switch {
	case exists && uid == "":
		uid = held.meta.UID
	case exists && uid != held.meta.UID:
		s.remove(held)
		exists = false
	}
	if uid == "" {
		s.uids++
		uid = types.UID(fmt.Sprintf("uid-%d", s.uids))
	}
	s.version++
	accessor.SetUID(uid)
	accessor.SetResourceVersion(strconv.FormatInt(s.version, 10))
	e := entry[T]{meta: store.MetaOf(accessor), obj: obj}
	s.objects[key] = e
	kind := watch.Added
	if exists {
		kind = watch.Modified
	}
	s.append(kind, e)
	s.wake()
	return obj, nil
}

// delete removes the object of key, and returns it as the watch shows it.
func (s *server[T]) delete(key store.Key) (last T, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held, exists := s.objects[key]
	if !exists {
		return last, fmt.Errorf("there is no object %q; the objects are %q", key, s.keys())
	}
	last = s.remove(held)
	s.wake()
	return last, nil
}

// remove removes e. It requires the mutex.
func (s *server[T]) remove(e entry[T]) T {
	s.version++
	s.dead[e.meta.UID] = struct{}{}
	delete(s.objects, e.meta.Key)
	gone := entry[T]{meta: e.meta, obj: deepCopy(e.obj)}
	gone.meta.Version = strconv.FormatInt(s.version, 10)
	if accessor, err := meta.Accessor(gone.obj); err == nil {
		accessor.SetResourceVersion(gone.meta.Version)
	}
	s.append(watch.Deleted, gone)
	return gone.obj
}

// append adds the change of the current version to the log. It requires the mutex.
func (s *server[T]) append(kind watch.EventType, e entry[T]) {
	if s.requests == (Requests{}) {
		s.horizon = s.version // no client has an older version
		return
	}
	s.log = append(s.log, change[T]{kind: kind, version: s.version, entry: e})
}

// forget drops the changes up to version from the log. It requires the mutex.
func (s *server[T]) forget(version int64) {
	n := 0
	for n < len(s.log) && s.log[n].version <= version {
		s.log[n] = change[T]{}
		n++
	}
	s.log = s.log[n:]
	s.horizon = max(s.horizon, version)
}

// keys returns the keys of all objects, sorted. It requires the mutex.
func (s *server[T]) keys() []string {
	keys := make([]string, 0, len(s.objects))
	for key := range s.objects {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}

// entries returns all objects, sorted by key. It requires the mutex.
func (s *server[T]) entries() []entry[T] {
	return slices.SortedFunc(maps.Values(s.objects), func(a, b entry[T]) int { return a.meta.Key.Compare(b.meta.Key) })
}

func (s *server[T]) sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.synced {
		s.synced, s.syncedAt = true, s.version
		s.wake()
	}
}

func (s *server[T]) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = err
	if err != nil {
		s.interrupt(err, err)
	}
	s.wake()
}

func (s *server[T]) disconnect(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.interrupt(io.EOF, io.ErrUnexpectedEOF)
		return
	}
	s.interrupt(err, err)
}

func (s *server[T]) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++ // so that no watch is up to date
	s.forget(s.version)
	s.snapshot = nil
	for st := range s.streams {
		st.end(errExpired(s.horizon))
	}
	s.wake()
}

// interrupt ends all open watches and lists with these errors. It requires the mutex.
func (s *server[T]) interrupt(watches, lists error) {
	s.interrupts++
	s.listErr = lists
	for st := range s.streams {
		st.end(watches)
	}
	s.wake()
}

func errExpired(horizon int64) error {
	return apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: the history begins at %d", horizon))
}

// List implements informer.Source.
func (s *server[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	s.mu.Lock()
	s.requests.Lists++
	interrupts := s.interrupts
	err := s.failing
	for err == nil && !s.synced {
		changed := s.next()
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return informer.Page{}, context.Cause(ctx)
		case <-changed:
		}
		s.mu.Lock()
		err = s.broken(interrupts)
	}
	var snap *snapshot[T]
	var from int
	if err == nil {
		snap, from, err = s.pageOf(opts.Continue)
	}
	s.mu.Unlock()
	if err != nil {
		return informer.Page{}, err
	}

	page := informer.Page{Version: strconv.FormatInt(snap.version, 10), Remaining: -1}
	to := len(snap.entries)
	if limit := int(opts.Limit); limit > 0 && to-from > limit {
		to = from + limit
		page.Remaining = int64(len(snap.entries) - to)
		page.Continue = fmt.Sprintf("%d:%d", snap.version, to)
	}
	for _, e := range snap.entries[from:to] {
		if err := yield(item[T]{e}); err != nil {
			return page, err
		}
		s.mu.Lock()
		err := s.broken(interrupts)
		s.mu.Unlock()
		if err != nil {
			return page, err
		}
		if ctx.Err() != nil {
			return page, context.Cause(ctx)
		}
	}
	return page, nil
}

// broken returns the error of a list that began after this number of interrupts. It
// requires the mutex.
func (s *server[T]) broken(interrupts int) error {
	if s.interrupts != interrupts {
		return s.listErr
	}
	return s.failing
}

// pageOf returns the snapshot and the offset of a continue token. It requires the mutex.
func (s *server[T]) pageOf(token string) (snap *snapshot[T], from int, err error) {
	if token == "" {
		s.snapshot = &snapshot[T]{version: s.version, entries: s.entries()}
		return s.snapshot, 0, nil
	}
	version, offset, _ := strings.Cut(token, ":")
	from, err = strconv.Atoi(offset)
	if err != nil {
		return nil, 0, apierrors.NewBadRequest(fmt.Sprintf("continue token %q is not a token of this server", token))
	}
	if s.snapshot == nil || strconv.FormatInt(s.snapshot.version, 10) != version {
		return nil, 0, apierrors.NewResourceExpired("the continue token has expired")
	}
	return s.snapshot, from, nil
}

// WatchList implements informer.Source.
func (s *server[T]) WatchList() bool { return true }

// item is an object on its way to the resource.
type item[T runtime.Object] struct{ entry[T] }

// Meta implements informer.Item.
func (i item[T]) Meta() store.Meta { return i.meta }

// Decode implements informer.Item. It returns a copy, so that users cannot change the
// server.
func (i item[T]) Decode() (T, error) { return deepCopy(i.obj), nil }

func deepCopy[T runtime.Object](obj T) T {
	return obj.DeepCopyObject().(T)
}
