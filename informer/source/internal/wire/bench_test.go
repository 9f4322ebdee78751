// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func encodedPods(b *testing.B, n int) [][]byte {
	b.Helper()
	all := make([][]byte, n)
	for i := range all {
		data, err := makePod(i).Marshal()
		if err != nil {
			b.Fatal(err)
		}
		all[i] = data
	}
	return all
}

// podDecoders are ways to make a pod of its bytes.
func podDecoders(b *testing.B) map[string]func(*Object, *corev1.Pod) error {
	b.Helper()
	made := func(mask Mask, share *Share) func(*Object, *corev1.Pod) error {
		d, err := NewProtoDecoder(reflect.TypeFor[corev1.Pod](), mask, share)
		if err != nil {
			b.Fatal(err)
		}
		var last lastTexts
		return func(o *Object, pod *corev1.Pod) error {
			if err := last.metaOf(o); err != nil {
				return err
			}
			return d.Decode(o, pod)
		}
	}
	few, err := ParseMask([]string{"metadata.labels", "spec.nodeName", "status.podIP", "status.phase"})
	if err != nil {
		b.Fatal(err)
	}
	return map[string]func(*Object, *corev1.Pod) error{
		"generated":   func(o *Object, pod *corev1.Pod) error { return pod.Unmarshal(o.Raw) },
		"ours":        made(nil, nil),
		"shared":      made(nil, NewShare()),
		"four fields": made(few, NewShare()),
	}
}

// BenchmarkDecodePod decodes pods of 500 templates and keeps them.
func BenchmarkDecodePod(b *testing.B) {
	const n = 20_000
	all := encodedPods(b, n)
	for _, name := range []string{"generated", "ours", "shared", "four fields"} {
		b.Run(name, func(b *testing.B) {
			decode := podDecoders(b)[name]
			kept := make([]*corev1.Pod, n)
			i := 0
			for b.Loop() {
				pod := new(corev1.Pod)
				if err := decode(&Object{Raw: all[i%n]}, pod); err != nil {
					b.Fatal(err)
				}
				kept[i%n] = pod
				i++
			}
			b.SetBytes(int64(len(all[0])))
		})
	}
}

// BenchmarkRetained says what a pod takes that is kept with many others.
func BenchmarkRetained(b *testing.B) {
	const n = 50_000
	all := encodedPods(b, n)
	for _, name := range []string{"generated", "ours", "shared", "four fields"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				decode := podDecoders(b)[name]
				before := inUse()
				kept := make([]*corev1.Pod, n)
				for i := range kept {
					kept[i] = new(corev1.Pod)
					if err := decode(&Object{Raw: all[i]}, kept[i]); err != nil {
						b.Fatal(err)
					}
				}
				after := inUse()
				runtime.KeepAlive(kept)
				runtime.KeepAlive(decode)
				b.ReportMetric(float64(after-before)/n, "B/object")
			}
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// uniquePods are pods that have nothing in common, not even a string.
func uniquePods(n int) []*corev1.Pod {
	all := make([]*corev1.Pod, n)
	texts := 0
	for i := range all {
		all[i] = makePod(i)
		makeUnique(reflect.ValueOf(all[i]).Elem(), &texts)
	}
	return all
}

// forget has a Share take what comes again for something new.
func (s *Share) forget() {
	clear(s.seen.at)
	clear(s.texts.at)
}

// BenchmarkDecodeUnique decodes pods that have nothing in common: what looking for it
// costs in vain, once a Share knows.
func BenchmarkDecodeUnique(b *testing.B) {
	const n = 5000
	all := make([][]byte, n)
	for i, pod := range uniquePods(n) {
		data, err := pod.Marshal()
		if err != nil {
			b.Fatal(err)
		}
		all[i] = data
	}
	for _, name := range []string{"generated", "ours", "texts", "shared"} {
		b.Run(name, func(b *testing.B) {
			share := map[string]*Share{"texts": NewTexts(), "shared": NewShare()}[name]
			d := sharingDecoder(b, share)
			one := func(i int) {
				if share != nil && i%n == 0 {
					share.forget()
				}
				var err error
				if pod, o := new(corev1.Pod), (&Object{Raw: all[i%n]}); name == "generated" {
					err = pod.Unmarshal(o.Raw)
				} else {
					err = d.Decode(o, pod)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			for i := range n {
				one(i)
			}
			i := n
			for b.Loop() {
				one(i)
				i++
			}
		})
	}
}

// makeUnique appends a number to all strings, each another one.
func makeUnique(v reflect.Value, n *int) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			*n++
			v.SetString(fmt.Sprint(v.String(), "-", *n))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			makeUnique(v.Elem(), n)
		}
	case reflect.Slice:
		for i := range v.Len() {
			makeUnique(v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				makeUnique(v.Field(i), n)
			}
		}
	case reflect.Map:
		if v.Type().Elem().Kind() != reflect.String {
			return
		}
		for _, key := range v.MapKeys() {
			*n++
			v.SetMapIndex(key, reflect.ValueOf(fmt.Sprint(v.MapIndex(key), "-", *n)).Convert(v.Type().Elem()))
		}
	}
}
