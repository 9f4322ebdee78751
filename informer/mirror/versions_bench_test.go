// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// The keys of the benchmarks: namespaces of 12 bytes, names of 36, UUIDs.
const (
	manyKeys       = 500_000
	manyNamespaces = 500
)

// manyMeta returns the meta of object i in a version. Nothing of it is shared.
func manyMeta(i, version int) store.Meta {
	return store.Meta{
		Key: store.Key{
			Namespace: fmt.Sprintf("namespace%03d", i%manyNamespaces),
			Name:      fmt.Sprintf("deployment-%09d-7c9d5b8f6d-%04x", i, i*31%0x10000),
		},
		UID:     types.UID(fmt.Sprintf("%08x-4f1d-4c5e-9a3b-%012x", uint32(i*2654435761), i)),
		Version: strconv.Itoa(100_000_000 + version),
	}
}

func manyMetas(n, version int) iter.Seq[store.Meta] {
	return func(yield func(store.Meta) bool) {
		for i := range n {
			if !yield(manyMeta(i, version)) {
				return
			}
		}
	}
}

// heap returns how many bytes are allocated that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// BenchmarkResourceVersionsMemory measures the bytes per key of 500,000 keys; and
// those that were allocated in all, which the heap cannot have exceeded while they
// were recorded, however late the garbage collector came. The map has the versions
// under "namespace/name", and neither UIDs nor marks.
func BenchmarkResourceVersionsMemory(b *testing.B) {
	metas := slices.Collect(manyMetas(manyKeys, 0))
	measure := func(b *testing.B, fill func() (filled any)) {
		for b.Loop() {
			var before, after runtime.MemStats
			kept := heap()
			runtime.ReadMemStats(&before)
			filled := fill()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(heap()-kept)/manyKeys, "B/key")
			b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/manyKeys, "allocated-B/key")
			runtime.KeepAlive(filled)
		}
		b.ReportMetric(0, "ns/op")
	}
	b.Run("storage", func(b *testing.B) {
		measure(b, func() any {
			s := mirror.NewResourceVersionStorage()
			for _, meta := range metas {
				_ = s.Set(meta, 0)
			}
			return s
		})
	})
	b.Run("map", func(b *testing.B) {
		measure(b, func() any {
			m := map[string]string{}
			for _, meta := range metas {
				m[meta.Key.String()] = strings.Clone(meta.Version)
			}
			return m
		})
	})
}

// BenchmarkResourceVersions measures calls on a storage of 500,000 keys, and
// beside Mark what a map with the versions under "namespace/name" takes for the
// same question.
func BenchmarkResourceVersions(b *testing.B) {
	metas := slices.Collect(manyMetas(manyKeys, 0))
	s := mirror.NewResourceVersionStorage()
	fill := func() {
		for _, meta := range metas {
			_ = s.Set(meta, 0)
		}
	}
	each := func(name string, call func(meta store.Meta)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			runtime.GC()
			for i := 0; b.Loop(); i++ {
				call(metas[i%manyKeys])
			}
		})
	}
	each("Set-new", func(meta store.Meta) {
		if s.Len() == manyKeys {
			s = mirror.NewResourceVersionStorage()
		}
		_ = s.Set(meta, 0)
	})
	fill()
	each("Set-held", func(meta store.Meta) { _ = s.Set(meta, 0) })
	each("Mark", func(meta store.Meta) { _, _ = s.Mark(meta) })
	each("Get", func(meta store.Meta) { _, _, _ = s.Get(meta.Key) })
	each("Delete-and-Set", func(meta store.Meta) {
		_ = s.Delete(meta.Key)
		_ = s.Set(meta, 0)
	})
	fill()

	for _, marked := range []int{0, manyKeys - 10} {
		_, _ = s.Begin()
		for _, meta := range metas[:marked] {
			_, _ = s.Mark(meta)
		}
		b.Run(fmt.Sprintf("Unmarked-%d", manyKeys-marked), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for range s.Unmarked() {
				}
			}
		})
	}

	m := map[string]string{}
	for _, meta := range metas {
		m[meta.Key.String()] = meta.Version
	}
	var same int
	each("map", func(meta store.Meta) {
		if m[meta.Key.String()] == meta.Version {
			same++
		}
	})
}
