// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeobj "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// bulkServer has n objects, o0 and so on, whose versions are from 1 to n. Its watch
// modifies those of even number and deletes the others, one after the other, from
// version n+1 on.
type bulkServer struct {
	n       int
	pages   atomic.Int64
	watches atomic.Int64
}

func (s *bulkServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *bulkServer) object(i, version int) *metav1.PartialObjectMetadata {
	obj := &metav1.PartialObjectMetadata{}
	obj.Name, obj.UID, obj.ResourceVersion = fmt.Sprintf("o%d", i), types.UID(fmt.Sprintf("u%d", i)), strconv.Itoa(version)
	return obj
}

func (s *bulkServer) ListWithContext(_ context.Context, opts metav1.ListOptions) (runtimeobj.Object, error) {
	if opts.Limit == 0 {
		return nil, errors.New("a list without a limit")
	}
	s.pages.Add(1)
	from := 0
	if opts.Continue != "" {
		from = int(number(opts.Continue))
	}
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.n)}}
	to := min(from+int(opts.Limit), s.n)
	for i := from; i < to; i++ {
		list.Items = append(list.Items, *s.object(i, i+1))
	}
	if to < s.n {
		left := int64(s.n - to)
		list.Continue, list.RemainingItemCount = strconv.Itoa(to), &left
	}
	return list, nil
}

func (s *bulkServer) WatchWithContext(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	s.watches.Add(1)
	w := &scriptedWatch{events: make(chan watch.Event), done: make(chan struct{})}
	from := int(number(opts.ResourceVersion)) - s.n
	go func() {
		defer close(w.events)
		for i := from; i < s.n; i++ {
			kind := watch.Modified
			if i%2 == 1 {
				kind = watch.Deleted
			}
			select {
			case w.events <- watch.Event{Type: kind, Object: s.object(i, s.n+1+i)}:
			case <-w.done:
				return
			}
		}
		<-w.done
	}()
	return w, nil
}

func (s *bulkServer) List(metav1.ListOptions) (runtimeobj.Object, error) { return nil, errNoContext }
func (s *bulkServer) Watch(metav1.ListOptions) (watch.Interface, error)  { return nil, errNoContext }

var errNoContext = errors.New("a request without a context")

// lastVersions is a handler that keeps the last version that it was told, and
// calls something before each call.
type lastVersions struct {
	before func(ctx context.Context) error

	mu      sync.Mutex
	version map[string]string
	calls   int
	highest int // changes that were pending at a time
	stats   func() informer.InformerStats
}

func (h *lastVersions) call(ctx context.Context, meta store.Meta, gone bool) error {
	if h.stats != nil {
		pending := h.stats().Pending
		h.mu.Lock()
		h.highest = max(h.highest, pending)
		h.mu.Unlock()
	}
	if err := h.before(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	if gone {
		delete(h.version, meta.Key.Name)
	} else {
		h.version[meta.Key.Name] = meta.Version
	}
	return nil
}

func (h *lastVersions) OnAdd(ctx context.Context, obj informer.Object[object]) error {
	return h.call(ctx, obj.Meta, false)
}
func (h *lastVersions) OnUpdate(ctx context.Context, _ store.Meta, obj informer.Object[object]) error {
	return h.call(ctx, obj.Meta, false)
}
func (h *lastVersions) OnDelete(ctx context.Context, gone informer.Deletion[object]) error {
	return h.call(ctx, gone.Meta, true)
}
func (h *lastVersions) OnSync(ctx context.Context, obj informer.Object[object]) error {
	return h.call(ctx, obj.Meta, false)
}

// heapInUse returns how much of the heap is used after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
