// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// share returns the bar of a figure for which ours must be at most this share of
// client-go's.
func share(s float64) float64 { return 1 / s }

// nameNoStore is the contestant without a store. It has no bars.
const nameNoStore = "no store"

// replaceNames are the contestants that are measured during a Replace.
var replaceNames = append(slices.Clone(storeNames), nameNoStore)

// storeBench measures stores of one collection, which is made on demand.
type storeBench struct {
	sizes
	collection func() *collection
}

// storeScenarios measure the store and client-go's.
func storeScenarios(s sizes) []scenario {
	b := storeBench{s, sync.OnceValue(func() *collection { return makeCollection(s.stored) })}
	all := []scenario{
		{together: b.gets, figures: []figure{
			{name: "store: namespaced Get, random order, ns", lower: true, bar: share(0.9)},
			{name: "store: allocations per namespaced Get", lower: true, none: true},
			{name: "store: namespaced Gets/s by 2 goroutines"},
			{name: "store: namespaced Gets/s by 2 goroutines, share of twice those by 1", bar: 1},
		}},
	}
	for _, update := range []struct {
		indexes int
		of      string
		bar     float64
	}{{0, "no index", share(0.6)}, {len(podIndexes), "3 indexes unchanged", share(0.5)}} {
		all = append(all, scenario{
			together: func(names []string) ([][]float64, error) { return b.updates(names, update.indexes) },
			figures: []figure{
				{name: "store: Update, " + update.of + ", ns", lower: true, bar: update.bar},
				{name: "store: allocations per Update, " + update.of, lower: true, none: true},
				{name: "store: Update by a new object, " + update.of + ", ns", lower: true},
				{name: "store: allocations per Update by a new object, " + update.of, lower: true, none: true},
			},
		})
	}
	all = append(all,
		scenario{together: b.lists, figures: []figure{
			{name: "store: List, 100k objects, ms", lower: true, bar: share(0.5)},
		}},
		scenario{together: b.byIndex, figures: []figure{
			{name: "store: ByIndex, 200 hits, ns", lower: true, bar: share(0.3)},
		}},
		scenario{together: b.selected, figures: []figure{
			{name: "store: lister by selector, 100 of 100k, label indexed, ns", lower: true, bar: share(0.05)},
		}},
		scenario{together: b.replace, who: replaceNames, runs: s.storeRuns, figures: []figure{
			{name: "store: Replace, 3 indexes: longest wait for a Get, ms", lower: true, bar: share(0.05)},
			{name: "store: Replace, 3 indexes: longest wait for a ByIndex with 20 hits, ms", lower: true, bar: share(0.05)},
		}},
		scenario{together: b.crowded, runs: s.storeRuns, figures: []figure{
			{name: "store: Update among 16 readers that list all, mean µs", lower: true, bar: share(0.02)},
			{name: "store: lists/s of 16 readers beside Updates", bar: 1},
		}},
		scenario{together: b.bytes, figures: []figure{
			{name: "store: retained bytes per object, without the object, no index", lower: true, bar: share(0.7)},
			{name: "store: retained bytes per object, without the object, 3 indexes", lower: true},
			{name: "store: retained bytes per object, without the object, no index, short names", lower: true},
		}},
	)
	for i := range all {
		if all[i].who == nil {
			all[i].who = storeNames
		}
	}
	return all
}

// pace returns the pace of one goroutine.
func (b storeBench) pace(chunk int) pace {
	return pace{all: b.stored, chunk: min(chunk, b.stored), goroutines: 1, during: b.storeSlice}
}

// speeds measures work with a store of each of names.
func (b storeBench) speeds(names []string, indexes int, p pace, of func(podStore) work) ([]speed, error) {
	var works []func() (speed, error)
	for _, name := range names {
		s, err := filledStore(name, indexes, b.collection().pods)
		if err != nil {
			return nil, err
		}
		works = append(works, func() (speed, error) { return p.slice(of(s)) })
	}
	return turns(b.storeTurns, works)
}

func (b storeBench) gets(names []string) ([][]float64, error) {
	c := b.collection()
	get := func(s podStore) work {
		return func(from, to int) error { return s.get(c.names[from:to]) }
	}
	one, two := b.pace(1000), b.pace(1000)
	two.goroutines = 2
	var works []func() (speed, error)
	for _, name := range names {
		s, err := filledStore(name, 0, c.pods)
		if err != nil {
			return nil, err
		}
		works = append(works,
			func() (speed, error) { return one.slice(get(s)) },
			func() (speed, error) { return two.slice(get(s)) })
	}
	got, err := turns(b.storeTurns, works)
	if err != nil {
		return nil, err
	}
	var values [][]float64
	for i := range names {
		alone, both := got[2*i], got[2*i+1]
		values = append(values, []float64{alone.nanos(), math.Floor(alone.allocated), both.rate, both.rate / (2 * alone.rate)})
	}
	return values, nil
}

// updates stores each pod again unchanged, and then a new object for each.
func (b storeBench) updates(names []string, indexes int) ([][]float64, error) {
	pods := b.collection().pods
	same, err := b.speeds(names, indexes, b.pace(1000), func(s podStore) work {
		return func(from, to int) error { return s.update(pods[from:to]) }
	})
	if err != nil {
		return nil, err
	}
	// New objects are made in advance, so their number is limited.
	few := pace{all: len(pods) / 4, chunk: len(pods) / 4, goroutines: 1}
	round := 0
	changed, err := b.speeds(names, indexes, few, func(s podStore) work {
		next := states(pods[:few.all], round+1)
		round++
		return func(from, to int) error { return s.update(next[from:to]) }
	})
	if err != nil {
		return nil, err
	}
	var values [][]float64
	for i := range names {
		values = append(values, []float64{
			same[i].nanos(), math.Floor(same[i].allocated),
			changed[i].nanos(), math.Floor(changed[i].allocated),
		})
	}
	return values, nil
}

func (b storeBench) lists(names []string) ([][]float64, error) {
	got, err := b.speeds(names, 0, b.pace(1), func(s podStore) work {
		return func(from, to int) error { return s.list(to-from, b.stored) }
	})
	return each(got, func(s speed) float64 { return s.nanos() / 1e6 }), err
}

func (b storeBench) byIndex(names []string) ([][]float64, error) {
	c := b.collection()
	got, err := b.speeds(names, 1, b.pace(20), func(s podStore) work {
		return func(from, to int) error { return s.byIndex(indexNode, c.nodes[from:to], podsPerNode) }
	})
	return each(got, speed.nanos), err
}

// selected makes ours select by a label with an index. client-go's lister reads every pod,
// whatever its indexes.
func (b storeBench) selected(names []string) ([][]float64, error) {
	c := b.collection()
	var selectors []labels.Selector
	for _, tenant := range c.tenants {
		selectors = append(selectors, labels.SelectorFromSet(labels.Set{labelTenant: tenant}))
	}
	var works []func() (speed, error)
	for _, name := range names {
		s, err := newLister(name)
		if err != nil {
			return nil, err
		}
		if err := s.update(c.pods); err != nil {
			return nil, err
		}
		works = append(works, func() (speed, error) {
			return b.pace(1).slice(func(from, to int) error { return s.selected(selectors[from:to], podsPerTenant) })
		})
	}
	got, err := turns(b.storeTurns, works)
	return each(got, speed.nanos), err
}

func newLister(name string) (podStore, error) {
	if name == nameOurs {
		return newOurLister()
	}
	return newPodStore(name, 0)
}

// each returns each speed as the only value of a contestant.
func each(got []speed, value func(speed) float64) (values [][]float64) {
	for _, s := range got {
		values = append(values, []float64{value(s)})
	}
	return values
}

// replace returns medians of the longest waits.
func (b storeBench) replace(names []string) ([][]float64, error) {
	c := b.collection()
	values := make([][]float64, len(names))
	for _, read := range []func(podStore) work{
		func(s podStore) work { return func(from, to int) error { return s.get(c.names[from:to]) } },
		func(s podStore) work {
			return func(from, to int) error { return s.byIndex(indexApp, c.apps[from:to], podsPerApp) }
		},
	} {
		longest := make([][]float64, len(names))
		stores := make([]podStore, len(names))
		for round := range b.replaces {
			for i, name := range names {
				if stores[i] == nil {
					var err error
					if stores[i], err = b.replaced(name); err != nil {
						return nil, err
					}
				}
				next := states(c.pods, round+1)
				runtime.GC()
				took, err := longestWait(read(stores[i]), b.stored, func() error {
					return stores[i].replace(next, strconv.Itoa(round+1))
				})
				if err != nil {
					return nil, err
				}
				longest[i] = append(longest[i], millis(took))
			}
		}
		for i := range names {
			values[i] = append(values[i], median(longest[i]))
		}
	}
	return values, nil
}

// replaced makes a store that is filled by a Replace.
func (b storeBench) replaced(name string) (podStore, error) {
	if name == nameNoStore {
		return noStore{}, nil
	}
	s, err := newPodStore(name, len(podIndexes))
	if err != nil {
		return nil, err
	}
	return s, s.replace(b.collection().pods, "0")
}

// crowded runs 16 readers that list, and one writer that updates the pods in turn.
func (b storeBench) crowded(names []string) ([][]float64, error) {
	pods := b.collection().pods
	var values [][]float64
	for _, name := range names {
		s, err := filledStore(name, 1, pods)
		if err != nil {
			return nil, err
		}
		got, err := amongReaders(16, b.crowd,
			func() error { return s.list(1, b.stored) },
			func(i int) error { return s.update(pods[i%len(pods):][:1]) })
		if err != nil {
			return nil, err
		}
		values = append(values, []float64{float64(got.write) / float64(time.Microsecond), got.reads})
	}
	return values, nil
}

func (b storeBench) bytes(names []string) ([][]float64, error) {
	long := b.collection()
	short := long.renamed()
	var values [][]float64
	for _, name := range names {
		var of []float64
		for _, f := range []struct {
			indexes int
			c       *collection
		}{{0, long}, {len(podIndexes), long}, {0, short}} {
			before := heap()
			s, err := filledStore(name, f.indexes, f.c.pods)
			if err != nil {
				return nil, err
			}
			after := heap()
			runtime.KeepAlive(s)
			of = append(of, float64(after-before)/float64(b.stored))
		}
		values = append(values, of)
	}
	runtime.KeepAlive(short)
	return values, nil
}
