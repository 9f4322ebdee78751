// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"reflect"
	"sync/atomic"
	"time"
)

// sizes is the mean size of objects, in bytes of memory. Items that know their size say it.
// Of others a few are measured. The mean follows slow changes.
type sizes struct {
	sum, count atomic.Int64
	seen       int // objects; used by the goroutine of the Reflector only
}

const (
	measuredFirst = 16      // of the first objects, all are measured
	measuredEach  = 64      // of the others one in so many
	mostSizes     = 1 << 17 // then old ones count less
)

// sizedItem is an item that knows about how many bytes its object takes, without what it has
// in common with other objects. It is valid after Decode, and 0 if it is not known.
type sizedItem interface{ Size() int }

// addSize counts an object that was decoded from item.
func addSize[T any](s *sizes, item Item[T], obj T) {
	size := 0
	if sized, ok := item.(sizedItem); ok {
		size = sized.Size()
	}
	if size == 0 {
		if s.seen++; s.seen > measuredFirst && s.seen%measuredEach != 0 {
			return
		}
		size = memoryOf(reflect.ValueOf(obj), 1<<16)
	}
	s.sum.Add(int64(size))
	if s.count.Add(1) >= mostSizes {
		s.sum.Store(s.sum.Load() / 2)
		s.count.Store(mostSizes / 2)
	}
}

// mean returns the mean size, 0 if there was no object.
func (s *sizes) mean() int64 {
	count := s.count.Load()
	if count == 0 {
		return 0
	}
	return s.sum.Load() / count
}

// memoryOf estimates the bytes that v refers to, and of v those behind its interface. It
// looks at so many parts at most: v can be a cycle.
func memoryOf(v reflect.Value, parts int) int {
	w := walker{left: parts}
	w.walk(v)
	return w.bytes
}

type walker struct{ left, bytes int }

var locationType = reflect.TypeFor[*time.Location]()

func (w *walker) walk(v reflect.Value) {
	if w.left--; w.left < 0 || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		// All times share a location, and package time sets it when it is first used.
		if !v.IsNil() && v.Type() != locationType {
			w.bytes += int(v.Type().Elem().Size())
			w.walk(v.Elem())
		}
	case reflect.Interface:
		if e := v.Elem(); e.IsValid() {
			if e.Kind() != reflect.Pointer && e.Kind() != reflect.Map {
				w.bytes += int(e.Type().Size())
			}
			w.walk(e)
		}
	case reflect.String:
		w.bytes += (v.Len() + 7) &^ 7
	case reflect.Slice:
		w.bytes += v.Cap() * int(v.Type().Elem().Size())
		w.elements(v)
	case reflect.Array:
		w.elements(v)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		entry := int(v.Type().Key().Size() + v.Type().Elem().Size())
		w.bytes += mapHeader + entry*max(mapGroup, v.Len()*mapGroup/mapLoad)
		for iter := v.MapRange(); iter.Next() && w.left >= 0; {
			w.walk(iter.Key())
			w.walk(iter.Value())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			w.walk(v.Field(i))
		}
	}
}

// Maps of Go have groups of entries, which are filled up to a part.
const (
	mapHeader = 64
	mapGroup  = 8
	mapLoad   = 6
)

func (w *walker) elements(v reflect.Value) {
	if k := v.Type().Elem().Kind(); k >= reflect.Bool && k <= reflect.Complex128 {
		return // they refer to nothing
	}
	for i := 0; i < v.Len() && w.left >= 0; i++ {
		w.walk(v.Index(i))
	}
}
