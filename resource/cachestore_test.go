// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

func TestCacheStore(t *testing.T) {
	r := startRig(t, WithIndexers(cache.Indexers{"first": func(obj any) ([]string, error) {
		return []string{obj.(*corev1.Pod).Name[:1]}, nil
	}}))
	r.view.want()
	r.sync("aa", "ab", "b")
	s, err := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool { return p.Name != "ab" }).Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := s.CacheStore().(cache.Indexer)
	if len(c.List()) != 2 || len(c.ListKeys()) != 2 || c.LastStoreSyncResourceVersion() == "" {
		t.Fatalf("list %v, keys %v", c.List(), c.ListKeys())
	}
	for key, want := range map[string]bool{"ns/aa": true, "ns/ab": false, "ns/none": false, "/": false} {
		if _, exists, err := c.GetByKey(key); exists != want || err != nil {
			t.Errorf("%s: exists %v, %v", key, exists, err)
		}
	}
	if _, exists, err := c.Get(cache.DeletedFinalStateUnknown{Key: "ns/b"}); !exists || err != nil {
		t.Errorf("tombstone: %v, %v", exists, err)
	}
	if _, _, err := c.Get("no object"); err == nil {
		t.Error("no error for what is no object")
	}
	for _, find := range []func() (int, error){
		func() (int, error) { l, err := c.Index("first", pod("ax", "", 0)); return len(l), err },
		func() (int, error) { l, err := c.ByIndex("first", "a"); return len(l), err },
		func() (int, error) { l, err := c.IndexKeys("first", "a"); return len(l), err },
		func() (int, error) { l, err := s.ByIndex("first", "a"); return len(l), err },
		func() (int, error) { l, err := s.IndexKeys("first", "a"); return len(l), err },
	} {
		if n, err := find(); n != 1 || err != nil {
			t.Errorf("found %d, %v", n, err)
		}
	}
	if values := c.ListIndexFuncValues("first"); len(values) != 2 || len(c.GetIndexers()) != 1 {
		t.Errorf("values %v", values)
	}
	if _, err := c.ByIndex("none", ""); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Index("none", pod("a", "", 0)); !errors.Is(err, store.ErrNoIndex) {
		t.Errorf("got %v", err)
	}
	for _, err := range []error{c.Add(nil), c.Update(nil), c.Delete(nil), c.Replace(nil, ""), c.AddIndexers(nil)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("a write gave %v", err)
		}
	}
	if err := c.Resync(); err != nil {
		t.Error(err)
	}
}
