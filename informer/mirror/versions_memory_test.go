// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// TestResourceVersionsMemory checks what the storage takes per key when it has
// grown, what it allocates on the way there (a copy of the whole, at any time,
// would make that twice as much), and what is left when the keys go.
func TestResourceVersionsMemory(t *testing.T) {
	const (
		n    = 100_000
		kept = 10
	)
	metas := make([]store.Meta, 0, n)
	for meta := range manyMetas(n, 0) {
		metas = append(metas, meta)
	}
	before := heap()
	s := mirror.NewResourceVersionStorage()
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	for _, meta := range metas {
		if err := s.Set(meta, 0); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&end)
	size := float64(heap() - before)
	if per := size / n; per > 96 {
		t.Errorf("%.1f bytes per key", per)
	}
	if allocated := float64(end.TotalAlloc - start.TotalAlloc); allocated > 1.75*size {
		t.Errorf("%.1f bytes per key allocated for %.1f", allocated/n, size/n)
	}

	for range 2 {
		pass, _ := s.Begin()
		for i, meta := range metas {
			meta.Version = fmt.Sprintf("9%018d", i)
			if err := s.Set(meta, pass); err != nil {
				t.Fatal(err)
			}
		}
	}
	if after := float64(heap() - before); after > size+1024 {
		t.Errorf("%.1f bytes per key after new versions, %.1f before", after/n, size/n)
	}

	for _, meta := range metas[:n/2] {
		if err := s.Delete(meta.Key); err != nil {
			t.Fatal(err)
		}
	}
	if per := float64(heap()-before) / (n / 2); per > 96 {
		t.Errorf("%.1f bytes per key when half of them are gone", per)
	}
	for _, meta := range metas[n/2 : n-kept] {
		if err := s.Delete(meta.Key); err != nil {
			t.Fatal(err)
		}
	}
	if left := heap() - before; left > 64<<10 {
		t.Errorf("%d bytes are left for %d keys", left, s.Len())
	}
	runtime.KeepAlive(metas)
	runtime.KeepAlive(s)
}

// TestResourceVersionsForgottenNamespaces: namespaces that come and go leave
// nothing.
func TestResourceVersionsForgottenNamespaces(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	before := heap()
	for i := range 50_000 {
		meta := store.Meta{Key: store.Key{Namespace: fmt.Sprintf("namespace-%d", i), Name: "default"}, Version: "1"}
		if err := s.Set(meta, 0); err != nil {
			t.Fatal(err)
		}
	}
	for key := range s.Keys() {
		if err := s.Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	if left := heap() - before; left > 16<<10 {
		t.Errorf("%d bytes are left", left)
	}
	for i := range 50_000 {
		key := store.Key{Namespace: fmt.Sprintf("namespace-%d", i), Name: "default"}
		if err := s.Set(store.Meta{Key: key, Version: "1"}, 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(key); err != nil {
			t.Fatal(err)
		}
	}
	if left := heap() - before; left > 16<<10 {
		t.Errorf("%d bytes are left of one after the other", left)
	}
	runtime.KeepAlive(s)
}

// TestResourceVersionsHoldsNoStrings: what is recorded may be a part of something
// large, and what is yielded shares the namespaces.
func TestResourceVersionsHoldsNoStrings(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	before := heap()
	for i := range 16 {
		answer := fmt.Sprintf("ns-%d %d", i%4, i) + strings.Repeat("x", 1<<20)
		meta := store.Meta{
			Key: store.Key{Namespace: answer[:4], Name: answer[:10]}, UID: types.UID(answer[:5]), Version: answer[:6],
		}
		if err := s.Set(meta, 0); err != nil {
			t.Fatal(err)
		}
	}
	if size := heap() - before; size > 64<<10 {
		t.Errorf("%d bytes are held", size)
	}
	namespaces := map[string]*byte{}
	for key := range s.Keys() {
		at := unsafe.StringData(key.Namespace)
		if first, ok := namespaces[key.Namespace]; ok && first != at {
			t.Errorf("namespace %s was copied", key.Namespace)
		}
		namespaces[key.Namespace] = at
	}
	if len(namespaces) != 4 {
		t.Errorf("%d namespaces", len(namespaces))
	}
}

// TestResourceVersionsSmall: there may be thousands of storages with few keys.
func TestResourceVersionsSmall(t *testing.T) {
	storages := make([]*mirror.ResourceVersions, 1000)
	before := heap()
	for i := range storages {
		storages[i] = mirror.NewResourceVersionStorage()
		for n := range 10 {
			meta := manyMeta(n, 0)
			meta.Key.Namespace = fmt.Sprintf("namespace%03d", n%5)
			if err := storages[i].Set(meta, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if each := (heap() - before) / int64(len(storages)); each > 2048 {
		t.Errorf("%d bytes for ten keys", each)
	}
	runtime.KeepAlive(storages)
}

// TestResourceVersionsAllocations: the calls that are made for every object of
// every list allocate nothing.
func TestResourceVersionsAllocations(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	pass, _ := s.Begin()
	states := []store.Meta{manyMeta(1, 0), manyMeta(1, 1)}
	odd := store.Meta{Key: store.Key{Name: "odd"}, UID: "u", Version: "007"}
	for _, meta := range []store.Meta{states[0], odd} {
		if err := s.Set(meta, pass); err != nil {
			t.Fatal(err)
		}
	}
	unknown := manyMeta(2, 0)
	i := 0
	for name, call := range map[string]func(){
		"Mark":                    func() { _, _ = s.Mark(states[0]) },
		"Mark of an odd one":      func() { _, _ = s.Mark(odd) },
		"Mark of another version": func() { _, _ = s.Mark(states[1]) },
		"Mark of an unknown one":  func() { _, _ = s.Mark(unknown) },
		"Set": func() {
			i++
			_ = s.Set(states[i%2], pass)
		},
		"Set of an odd one": func() { _ = s.Set(odd, 0) },
	} {
		if allocs := testing.AllocsPerRun(100, call); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
