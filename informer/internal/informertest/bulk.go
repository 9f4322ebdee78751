// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeobj "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// BulkServer has n objects, o0 and so on, whose versions are from 1 to n. Its watch
// modifies those of even number and deletes the others, one after the other, from
// version n+1 on. It makes objects as they are read. A test measures the memory that the
// sink keeps, to which fakeapi would add its own objects and history.
type BulkServer struct {
	cache.ListerWatcher // nil: its methods are not called
	N                   int
	Pages               atomic.Int64
	Watches             atomic.Int64
}

func (s *BulkServer) IsWatchListSemanticsUnSupported() bool { return true }

func (s *BulkServer) object(i, version int) *metav1.PartialObjectMetadata {
	obj := &metav1.PartialObjectMetadata{}
	obj.Name, obj.UID, obj.ResourceVersion = fmt.Sprintf("o%d", i), types.UID(fmt.Sprintf("u%d", i)), strconv.Itoa(version)
	return obj
}

func (s *BulkServer) ListWithContext(_ context.Context, opts metav1.ListOptions) (runtimeobj.Object, error) {
	if opts.Limit == 0 {
		return nil, errors.New("a list without a limit")
	}
	s.Pages.Add(1)
	from := 0
	if opts.Continue != "" {
		from = int(Number(opts.Continue))
	}
	list := &metav1.PartialObjectMetadataList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(s.N)}}
	to := min(from+int(opts.Limit), s.N)
	for i := from; i < to; i++ {
		list.Items = append(list.Items, *s.object(i, i+1))
	}
	if to < s.N {
		left := int64(s.N - to)
		list.Continue, list.RemainingItemCount = strconv.Itoa(to), &left
	}
	return list, nil
}

func (s *BulkServer) WatchWithContext(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	s.Watches.Add(1)
	w := newPlayedWatch()
	from := int(Number(opts.ResourceVersion)) - s.N
	go func() {
		defer close(w.events)
		for i := from; i < s.N; i++ {
			kind := watch.Modified
			if i%2 == 1 {
				kind = watch.Deleted
			}
			if !w.send(kind, s.object(i, s.N+1+i)) {
				return
			}
		}
		<-w.done
	}()
	return w, nil
}

// HeapInUse returns how much of the heap is used after a collection.
func HeapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
