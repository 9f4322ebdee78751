// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// jsonDecoders are ways to make a pod of JSON.
func jsonDecoders(b *testing.B) map[string]func([]byte, *Share) (any, error) {
	typed := decoderOf(b, reflect.TypeFor[corev1.Pod](), nil)
	return map[string]func([]byte, *Share) (any, error){
		"unstructured": func(raw []byte, share *Share) (any, error) {
			return DecodeUnstructured(raw, DefaultLimits, JSONOptions{Share: share})
		},
		"typed": func(raw []byte, share *Share) (any, error) {
			pod := new(corev1.Pod)
			return pod, typed.Decode(raw, DefaultLimits, share, reflect.ValueOf(pod).Elem())
		},
	}
}

// shares are how much objects have in common.
func shares(name string) *Share {
	return map[string]*Share{"texts": NewTexts(), "shared": NewShare()}[name]
}

// BenchmarkJSONShared decodes pods of 500 templates and keeps them, and pods that have
// nothing in common. The shared ones say what they take in memory, too.
func BenchmarkJSONShared(b *testing.B) {
	const n = 20_000
	var same, unique [][]byte
	for i := range n {
		same = append(same, toJSON(b, makePod(i)))
	}
	for _, pod := range uniquePods(n / 4) {
		unique = append(unique, toJSON(b, pod))
	}
	for who, decode := range jsonDecoders(b) {
		for _, how := range []string{"alone", "texts", "shared"} {
			b.Run(who+"/"+how, func(b *testing.B) {
				share := shares(how)
				kept := make([]any, n)
				one := func(i int) {
					var err error
					if kept[i%n], err = decode(same[i%n], share); err != nil {
						b.Fatal(err)
					}
				}
				before := inUse()
				for i := range n {
					one(i)
				}
				retained := float64(inUse()-before) / n
				i := n
				for b.Loop() {
					one(i)
					i++
				}
				b.ReportMetric(retained, "B/object")
				runtime.KeepAlive(kept)
			})
			b.Run(who+"/unique/"+how, func(b *testing.B) {
				share := shares(how)
				one := func(i int) {
					if share != nil && i%len(unique) == 0 {
						share.forget()
					}
					if _, err := decode(unique[i%len(unique)], share); err != nil {
						b.Fatal(err)
					}
				}
				for i := range unique {
					one(i)
				}
				i := 0
				for b.Loop() {
					one(i)
					i++
				}
			})
		}
	}
}
