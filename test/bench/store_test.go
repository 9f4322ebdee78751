// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// TestCollection: the pods are distributed as the README says.
func TestCollection(t *testing.T) {
	const n = 10 * podsPerNode * 5
	c := makeCollection(n)
	names := map[podName]bool{}
	for _, name := range c.names {
		names[name] = true
	}
	if len(names) != n {
		t.Errorf("%d names, want %d", len(names), n)
	}
	namespaces := map[string]int{}
	for name := range names {
		namespaces[name.namespace]++
	}
	if len(namespaces) != storedNamespaces {
		t.Errorf("%d namespaces, want %d", len(namespaces), storedNamespaces)
	}
	for _, of := range []struct {
		what   string
		values []string
		each   int
	}{{"nodes", c.nodes, podsPerNode}, {"tenants", c.tenants, podsPerTenant}, {"apps", c.apps, podsPerApp}} {
		count := map[string]int{}
		for _, value := range of.values {
			count[value]++
		}
		for value, got := range count {
			if got != of.each {
				t.Errorf("%d pods of %s, one of the %s; want %d", got, value, of.what, of.each)
			}
		}
	}
	before, after := c.pods[7], states(c.pods, 3)[7]
	if before == after || before.Name != after.Name || len(after.ResourceVersion) <= len(before.ResourceVersion) {
		t.Errorf("%s in version %s became %s in version %s", before.Name, before.ResourceVersion, after.Name, after.ResourceVersion)
	}
}

// TestPodStores: all have what they were given, after each kind of write, and an
// answer that is wrong is noticed.
func TestPodStores(t *testing.T) {
	const n = 2 * podsPerNode
	c := makeCollection(n)
	for _, name := range storeNames {
		s, err := newLister(name)
		if err != nil {
			t.Fatal(err)
		}
		indexed, err := newPodStore(name, len(podIndexes))
		if err != nil {
			t.Fatal(err)
		}
		selectors := []labels.Selector{labels.SelectorFromSet(labels.Set{labelTenant: c.tenants[0]})}
		check := func(want error) {
			t.Helper()
			for what, err := range map[string]error{
				"get":      s.get(c.names),
				"list":     s.list(2, n),
				"selected": s.selected(selectors, podsPerTenant),
				"node":     indexed.byIndex(indexNode, c.nodes, podsPerNode),
				"app":      indexed.byIndex(indexApp, c.apps, podsPerApp),
			} {
				if !errors.Is(err, want) {
					t.Errorf("%s: %s: %v, want %v", name, what, err, want)
				}
			}
		}
		check(errWrong)
		for _, write := range []func(podStore) error{
			func(s podStore) error { return s.update(c.pods) },
			func(s podStore) error { return s.update(states(c.pods, 1)) },
			func(s podStore) error { return s.replace(states(c.pods, 2), "2") },
		} {
			if err := errors.Join(write(s), write(indexed)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			check(nil)
		}
		if err := errors.Join(s.replace(nil, "3"), indexed.replace(nil, "3")); err != nil {
			t.Fatal(err)
		}
		check(errWrong)
	}
}

// TestSlice: what is done is counted, and so is what is allocated for it.
func TestSlice(t *testing.T) {
	var kept []*int
	next := 0
	s, err := pace{all: 30, chunk: 10, goroutines: 1, during: time.Millisecond}.slice(func(from, to int) error {
		if from != next || to != from+10 {
			t.Errorf("was to do %d to %d, want %d", from, to, next)
		}
		next = to % 30
		kept = make([]*int, 0, 10)
		for i := range 10 {
			kept = append(kept, &i)
		}
		return nil
	})
	// One for each, and one for the slice of ten.
	if err != nil || s.rate <= 0 || s.allocated < 1.1 || s.allocated > 2 || len(kept) != 10 {
		t.Errorf("measured %+v, %v", s, err)
	}
	fails := errors.New("fails")
	if _, err := (pace{all: 1, chunk: 1, goroutines: 2, during: time.Hour}).slice(func(int, int) error { return fails }); !errors.Is(err, fails) {
		t.Errorf("the error is %v", err)
	}
}

// TestTurns: of each the best counts.
func TestTurns(t *testing.T) {
	var all []int
	of := func(who int, rates ...float64) func() (speed, error) {
		return func() (speed, error) {
			all = append(all, who)
			rate := rates[0]
			rates = rates[1:]
			return speed{rate: rate, allocated: rate}, nil
		}
	}
	got, err := turns(3, []func() (speed, error){of(1, 3, 9, 5), of(2, 7, 1, 2)})
	if err != nil || got[0] != (speed{9, 3}) || got[1] != (speed{7, 1}) {
		t.Errorf("the best are %v, %v", got, err)
	}
	for i, who := range all {
		if who != i%2+1 {
			t.Errorf("the turns were %v", all)
		}
	}
}

// TestLongestWait: a read that a write holds up is what is measured.
func TestLongestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lock := make(chan struct{}, 1)
		read := func(from, to int) error {
			lock <- struct{}{}
			<-lock
			time.Sleep(time.Second)
			return nil
		}
		got, err := longestWait(read, 5, func() error {
			lock <- struct{}{}
			time.Sleep(time.Minute)
			<-lock
			time.Sleep(30 * time.Second)
			return nil
		})
		if err != nil || got < 59*time.Second || got > 62*time.Second {
			t.Errorf("the longest wait is %s, %v", got, err)
		}
		fails := errors.New("fails")
		if _, err := longestWait(func(int, int) error { return fails }, 1, func() error { return nil }); !errors.Is(err, fails) {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestAmongReaders: reads and writes are counted by themselves.
func TestAmongReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := amongReaders(4, time.Minute, func() error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}, func(int) error {
			time.Sleep(2 * time.Second)
			return nil
		})
		if err != nil || got.write != 2*time.Second || got.reads < 39 || got.reads > 41 {
			t.Errorf("measured %+v, %v", got, err)
		}
		fails := errors.New("fails")
		nap := func() error { time.Sleep(time.Second); return nil }
		if _, err := amongReaders(1, time.Minute, nap, func(int) error { return fails }); !errors.Is(err, fails) {
			t.Errorf("the error of a write is %v", err)
		}
	})
}
