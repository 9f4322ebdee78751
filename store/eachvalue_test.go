// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// A change has the values of its old and its new state in each index, whichever method
// made it. Records of a value are those of one point in time.
func TestEachValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := func(name string) IndexFunc[*corev1.Pod] {
			return func(values []string, p *corev1.Pod) ([]string, error) {
				return append(values, strings.Fields(p.Labels[name])...), nil
			}
		}
		values := map[string]map[Key][]string{"a": {}, "b": {}} // by index
		var got, want []string
		var s *Store[*corev1.Pod]
		s, err := New(Config[*corev1.Pod]{
			Indexers: Indexers[*corev1.Pod]{"a": words("a"), "b": words("b"), "none": words("none")},
			OnChange: func(c Change[*corev1.Pod]) {
				for _, name := range []string{"a", "b", "none"} {
					x, _ := s.Index(name)
					c.EachValue(x, func(value string, had, has bool) {
						got = append(got, fmt.Sprint(c.Kind, c.Meta.Key.Name, name, value, had, has))
					})
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		version := 0
		word := rapid.SampledFrom([]string{"", "x", "y", "x y", "y z", "z x y x"})
		draw := func() *corev1.Pod {
			version++
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Name: rapid.SampledFrom([]string{"p", "q", "r"}).Draw(t, "name"), ResourceVersion: strconv.Itoa(version),
				Labels: map[string]string{"a": word.Draw(t, "a"), "b": word.Draw(t, "b")},
			}}
		}
		expect := func(kind ChangeKind, key Key, now map[string]string) {
			for _, name := range []string{"a", "b"} {
				had, has := values[name][key], strings.Fields(now[name])
				all := map[string]bool{}
				for _, v := range slices.Concat(had, has) {
					all[v] = true
				}
				for _, v := range slices.Sorted(maps.Keys(all)) {
					want = append(want, fmt.Sprint(kind, key.Name, name, v, slices.Contains(had, v), slices.Contains(has, v)))
				}
				values[name][key] = has
			}
		}
		expectUpsert := func(p *corev1.Pod) {
			kind := Added
			if _, ok := s.Get(KeyOf(p)); ok {
				kind = Updated
			}
			expect(kind, KeyOf(p), p.Labels)
		}
		remove := func(names ...string) {
			for _, name := range names {
				if _, ok := s.Get(Key{Name: name}); ok {
					expect(Deleted, Key{Name: name}, nil)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				p := draw()
				expectUpsert(p)
				_ = s.Apply(context.Background(), MetaOf(p), p)
			},
			"delete": func(t *rapid.T) {
				p := draw()
				remove(p.Name)
				_ = s.Delete(context.Background(), MetaOf(p), nil, false)
			},
			"write": func(t *rapid.T) {
				p := draw()
				expectUpsert(p)
				if _, err := s.Write(Write[*corev1.Pod]{Meta: MetaOf(p), Object: p}); err != nil {
					t.Fatal(err)
				}
			},
			"replace": func(t *rapid.T) {
				p := draw()
				expectUpsert(p)
				for name := range map[string]bool{"p": true, "q": true, "r": true} {
					if name != p.Name {
						remove(name)
					}
				}
				s.replaceBy(strconv.Itoa(version), []arrival[*corev1.Pod]{{meta: MetaOf(p), obj: p}})
			},
			"": func(t *rapid.T) {
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Fatalf("got %q, want %q", got, want)
				}
				got, want = nil, nil
				for name := range values {
					x, _ := s.Index(name)
					for _, v := range []string{"x", "y", "z"} {
						records, n := x.Records(v), 0
						for i := range records.Len() {
							if !slices.Contains(values[name][records.At(i).Key()], v) {
								t.Fatalf("%s is in the records of %s", records.At(i).Key(), v)
							}
						}
						for _, has := range values[name] {
							if slices.Contains(has, v) {
								n++
							}
						}
						if n != records.Len() {
							t.Fatalf("%d records of %s, want %d", records.Len(), v, n)
						}
					}
				}
			},
		})
	})
}
