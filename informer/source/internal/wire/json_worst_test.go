// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// endlessType is a type that has no end, as one of a CustomResourceDefinition has none.
type endlessType struct {
	Items *endlessType            `json:"items"`
	All   []endlessType           `json:"all"`
	By    map[string]*endlessType `json:"by"`
	Value any                     `json:"value"`
	Many  []corev1.Container      `json:"many"`
	Huge  []bulkyPart             `json:"huge"`
}

type bulkyPart struct {
	A int         `json:"a"`
	B [1992]uint8 `json:"-"`
}

// peak returns how many bytes more are in use at a time while f runs.
func peak(f func()) int {
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	done, ended := make(chan struct{}), make(chan int)
	go func() {
		most := 0
		for {
			runtime.ReadMemStats(&now)
			most = max(most, int(now.HeapAlloc)+int(now.StackInuse)-int(before.HeapAlloc)-int(before.StackInuse))
			select {
			case <-done:
				ended <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	return <-ended
}

// The largest and the deepest objects that an API server accepts are decoded: a request has
// 3 MiB at most, of which etcd stores 1.5 MiB by default, and is nested 10000 deep. What the
// worst ones take at a time, on amd64:
//
//	nested objects                             10 MiB of stack and objects
//	3 MiB of empty objects without a type     120 MiB
//	3 MiB of empty containers                 410 MiB, 408 bytes each
//	1.5 MiB of empty elements of 2000 bytes  1000 MiB; more than 1 GiB is an error
func TestJSONWorst(t *testing.T) {
	const size, depth = 3 << 20, 10000
	nested := func(open, close string, by int) string {
		return strings.Repeat(open, depth/by-1) + "{}" + strings.Repeat(close, depth/by-1)
	}
	d := decoderOf(t, reflect.TypeFor[endlessType](), nil)
	for name, test := range map[string]struct {
		raw  []byte
		most int
	}{
		"nested objects": {[]byte(nested(`{"a":`, `}`, 1)), 64 << 20},
		"nested items":   {[]byte(nested(`{"items":`, `}`, 1)), 64 << 20},
		"nested slices":  {[]byte(nested(`{"all":[`, `]}`, 2)), 64 << 20},
		"nested maps":    {[]byte(nested(`{"by":{"":`, `}}`, 2)), 64 << 20},
		"empty objects":  {repeated(`{"value":[`, `{}`, `]}`, size), 200 << 20},
		"containers":     {repeated(`{"many":[`, `{}`, `]}`, size), 500 << 20},
		"bulky parts":    {repeated(`{"huge":[`, `{}`, `]}`, size/2), 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			for how, decode := range map[string]func() error{
				"typed": func() error { return d.Decode(test.raw, DefaultLimits, NewShare(), reflect.New(d.t).Elem()) },
				"unstructured": func() error {
					_, err := DecodeUnstructured(test.raw, DefaultLimits, JSONOptions{Share: NewShare()})
					return err
				},
			} {
				start := time.Now()
				var err error
				most := peak(func() { err = decode() })
				t.Logf("%s: %d MiB in %v", how, most>>20, time.Since(start))
				if err != nil || most > test.most {
					t.Errorf("%s: %d MiB, %v", how, most>>20, err)
				}
			}
		})
	}
}

// An error at the bottom of the deepest object has a short text.
func TestErrorOfTheDeepest(t *testing.T) {
	long := strings.Repeat("x", 100)
	d := decoderOf(t, reflect.TypeFor[endlessType](), nil)
	for name, raw := range map[string]string{
		"type":  strings.Repeat(`{"items":`, 9999) + `{"many":1}` + strings.Repeat(`}`, 9999),
		"names": `{"many":[{"name":{"` + strings.Repeat(long, 10000) + `":` + strings.Repeat(`{"`+long+`":`, 9000) + `0` + strings.Repeat(`}`, 9000) + `}}]}`,
	} {
		err := d.Decode([]byte(raw), DefaultLimits, nil, reflect.New(d.t).Elem())
		if err == nil || len(err.Error()) > 2*longPath {
			t.Errorf("%s: %v", name, err)
		}
		if path := pathAt([]byte(raw), len(raw)*3/4); len(path) > 3*longPath || len(path) < longPath {
			t.Errorf("%s: a path of %d bytes", name, len(path))
		}
	}
}
