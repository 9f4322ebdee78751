// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The age of a record has 32 bits. After so many epochs it is not taken for a
// young one.
func TestEpochsWrapAround(t *testing.T) {
	s, err := New(Config[*corev1.Pod]{})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(name, version string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
		if err := s.Apply(context.Background(), MetaOf(p), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := s.epoch
	a := apply("a", "1")
	snap := s.Snapshot()
	s.epoch = 1<<32 - 1
	apply("b", "1") // begins an epoch
	s.epoch = 1<<32 + first
	apply("a", "2")
	if held, _ := snap.Get(Key{Name: "a"}); held != a {
		t.Errorf("the snapshot has version %s now", held.ResourceVersion)
	}
}

// A record that was replaced or deleted may be kept, and does not keep the indexes.
func TestOldRecordsForgetIndexes(t *testing.T) {
	var old []*Record[string]
	s, err := New(Config[string]{
		Indexers: Indexers[string]{"text": func(values []string, text string) ([]string, error) { return append(values, text), nil }},
		OnChange: func(c Change[string]) { old = append(old, c.Record) },
	})
	if err != nil {
		t.Fatal(err)
	}
	meta := func(name, version string) Meta { return Meta{Key: Key{Name: name}, Version: version} }
	write := func(name, version, text string, gone bool) {
		t.Helper()
		if _, err := s.Write(Write[string]{Meta: meta(name, version), Object: text, Delete: gone}); err != nil {
			t.Fatal(err)
		}
	}
	write("updated", "1", "x", false)
	write("updated", "2", "x", false)
	write("updated", "3", "y", false)
	write("updated", "4", "y", true)
	write("replaced", "5", "x", false)
	write("swept", "6", "x", false)
	_, err = s.Replace("7", func(yield func(Meta, string) bool) { yield(meta("replaced", "7"), "x") })
	if err != nil {
		t.Fatal(err)
	}
	current := s.byKey.find(s.byKey.hash(Key{Name: "replaced"}), Key{Name: "replaced"})
	if len(old) != 8 || len(current.refs()) != 1 {
		t.Errorf("%d changes, the current record has %d references", len(old), len(current.refs()))
	}
	for _, rec := range old {
		if rec != current && rec.refs() != nil {
			t.Errorf("%s has references", rec.Meta())
		}
	}
}
