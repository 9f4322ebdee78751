// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// sizes are the sizes of the scenarios. The test has smaller sizes with the same names.
type sizes struct {
	small, large int // pods in a collection
	changes      int // in a run of events
	hot          int // pods that change repeatedly
	turns        int // round trips

	mirrored, mirroredMany int // pods of the source of a mirror
	mirrorRuns             int // at most: it takes long
	startSource            func(objects int) (mirrorSource, error)

	stored     int           // pods in a store; a multiple of podsPerNode
	storeSlice time.Duration // how long a contestant repeats an operation
	storeTurns int           // how often, in turns
	crowd      time.Duration // how long readers and a writer run concurrently
	replaces   int
	storeRuns  int // at most, for slow scenarios

	wire, wireMany int         // objects that are read from a server
	wireChanges    int         // how many of them change,
	wireRounds     int         // how often
	wireRuns       int         // at most: it takes long
	wireTraces     *wireTraces // records their memory; nil: nothing
	wireProfiles   string      // directory for CPU profiles; empty: none

	statusOwners  int           // Deployments
	statusChanges int           // how many of them change
	statusPace    time.Duration // between two changes
	statusIdle    time.Duration // how long nothing changes
	statusRuns    int           // at most: it takes long
	startStatus   func(context.Context) (statusCluster, error)
}

var fullSizes = sizes{
	small: 10_000, large: 50_000, changes: 100_000, hot: 1000, turns: 20_000,
	mirrored: 100_000, mirroredMany: 500_000, mirrorRuns: 3, startSource: startSource,
	stored: 100_000, storeSlice: 100 * time.Millisecond, storeTurns: 5, crowd: 2 * time.Second, replaces: 10, storeRuns: 3,
	wire: 50_000, wireMany: 100_000, wireChanges: 20_000, wireRounds: 5, wireRuns: 3,
	statusOwners: 300, statusChanges: 50, statusPace: 100 * time.Millisecond, statusIdle: 20 * time.Second, statusRuns: 3,
	startStatus: startStatusCluster,
}

// figure is a value that all contestants of a scenario can be measured for.
type figure struct {
	name  string
	lower bool    // lower is better
	goal  float64 // the maximum of ours; 0: none
	none  bool    // ours must be zero
	bar   float64 // the minimum of the ratio to each peer; 0: none

	// bars are the minimums of the ratios to some peers. The others have bar.
	bars map[string]float64

	// vsIdeal is true if the ideal loop is a peer.
	vsIdeal bool
}

// scenario measures some figures at once.
type scenario struct {
	figures []figure
	who     []string // contestants
	runs    int      // at most; 0: any number
	pods    int      // in the collection
	run     func(name string, pods []*corev1.Pod) ([]float64, error)

	// together measures all contestants at once, if run is nil. It returns the result of
	// run for each of names.
	together func(names []string) ([][]float64, error)
}

// turn measures names, each in its turn.
func (s scenario) turn(names []string, pods []*corev1.Pod, progress func(figure string)) (all [][]float64, err error) {
	if s.run == nil {
		progress(s.figures[0].name)
		return s.together(names)
	}
	for _, name := range names {
		progress(s.figures[0].name)
		got, err := s.run(name, pods)
		if err != nil {
			return nil, err
		}
		all = append(all, got)
	}
	return all, nil
}

func scenarios(s sizes) []scenario {
	return slices.Concat(followerScenarios(s), mirrorScenarios(s), wireScenarios(s), storeScenarios(s), []scenario{statusScenario(s)})
}

// followerScenarios are the scenarios with a source in this process.
func followerScenarios(s sizes) []scenario {
	var all []scenario
	add := func(pods int, run func(contestant, []*corev1.Pod) []float64, figures ...figure) {
		all = append(all, scenario{
			figures: figures, who: followerNames(), pods: pods,
			run: func(name string, pods []*corev1.Pod) ([]float64, error) {
				return run(contestantOf(name), pods), nil
			},
		})
	}
	for _, subs := range []int{1, 10} {
		after := ", " + plural(subs, "subscriber")
		add(s.small, func(c contestant, pods []*corev1.Pod) []float64 {
			r := measureEvents(c, load{pods: pods, keys: len(pods), rounds: s.changes / len(pods), subs: subs, barrier: true})
			return []float64{r.eventsPerSecond(), r.bytesPerEvent()}
		}, figure{name: "events/s" + after, vsIdeal: true}, figure{name: "allocated bytes per event" + after, lower: true})
		add(s.small, func(c contestant, pods []*corev1.Pod) []float64 {
			r := measureEvents(c, load{pods: pods, keys: s.hot, rounds: s.changes / s.hot, subs: subs})
			return []float64{r.changesPerSecond()}
		}, figure{name: "changes/s, merging allowed" + after, vsIdeal: true})
		add(s.small, func(c contestant, pods []*corev1.Pod) []float64 {
			r := measureEvents(c, load{pods: pods, keys: 1, rounds: s.turns, subs: subs, barrier: true})
			return []float64{r.changesPerSecond()}
		}, figure{name: "round trips/s" + after, vsIdeal: true})
	}
	add(s.small, func(c contestant, pods []*corev1.Pod) []float64 {
		r := measureMemory(c, pods, 10)
		return []float64{r.overhead, r.churned, r.subscriber, r.all}
	},
		figure{name: "retained bytes per object, without the object, 1 subscriber", lower: true},
		figure{name: "retained bytes per object, without the object, 9 in 10 changed, 1 subscriber", lower: true},
		figure{name: "retained bytes per further subscriber and object", lower: true},
		figure{name: "retained bytes per object, with the object, 1 subscriber", lower: true},
	)
	for _, size := range []struct {
		pods int
		name string
	}{{s.small, "10k"}, {s.large, "50k"}} {
		add(size.pods, func(c contestant, pods []*corev1.Pod) []float64 {
			return []float64{measureStore(c, pods)}
		}, figure{name: fmt.Sprintf("ms to a synced store, %s pods", size.name), lower: true, vsIdeal: true})
		add(size.pods, func(c contestant, pods []*corev1.Pod) []float64 {
			return []float64{measureSync(c, pods)}
		}, figure{name: fmt.Sprintf("ms to a synced subscriber, %s pods", size.name), lower: true, vsIdeal: true})
	}
	return all
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// values are the results, by figure and contestant, one value for each run.
type values map[string]map[string][]float64

func (v values) add(figure, contestant string, value float64) {
	if v[figure] == nil {
		v[figure] = map[string][]float64{}
	}
	v[figure][contestant] = append(v[figure][contestant], value)
}

// measure runs each scenario this number of times. In each run all contestants take
// turns, and another one is first, so that a disturbance of the machine affects all of
// them. It calls progress for each turn.
func measure(all []scenario, runs int, progress func(figure string)) (values, error) {
	v := values{}
	var pods []*corev1.Pod
	for _, s := range all {
		if len(pods) != s.pods {
			pods = nil
			pods = makePods(s.pods)
		}
		times := runs
		if s.runs > 0 {
			times = min(runs, s.runs)
		}
		for run := range times {
			first := run % len(s.who)
			names := slices.Concat(s.who[first:], s.who[:first])
			all, err := s.turn(names, pods, progress)
			if err != nil {
				return nil, err
			}
			for i, got := range all {
				for f, value := range got {
					v.add(s.figures[f].name, names[i], value)
				}
			}
		}
	}
	return v, nil
}
