// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// sizes of the scenarios. The test has smaller ones under the same names.
type sizes struct {
	small, large int // pods in a collection
	changes      int // in a run of events
	hot          int // pods that changes hit again and again
	turns        int // round trips
}

var fullSizes = sizes{small: 10_000, large: 50_000, changes: 100_000, hot: 1000, turns: 20_000}

// figure is a value that all contestants can be measured for.
type figure struct {
	name  string
	lower bool // lower is better

	// vsIdeal is whether the ideal loop is a peer.
	vsIdeal bool
}

// scenario measures some figures at once.
type scenario struct {
	figures []figure
	pods    int // that it works on
	run     func(c contestant, pods []*corev1.Pod) []float64
}

func scenarios(s sizes) []scenario {
	var all []scenario
	add := func(pods int, run func(contestant, []*corev1.Pod) []float64, figures ...figure) {
		all = append(all, scenario{figures: figures, pods: pods, run: run})
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

// values are all that was measured: by figure and contestant, one value per run.
type values map[string]map[string][]float64

func (v values) add(figure, contestant string, value float64) {
	if v[figure] == nil {
		v[figure] = map[string][]float64{}
	}
	v[figure][contestant] = append(v[figure][contestant], value)
}

// measure runs everything so often. In each run of a scenario all contestants
// have their turn, another one first each time, so that what disturbs the
// machine for a while disturbs all of them.
func measure(all []scenario, who []contestant, runs int, progress func(string)) values {
	v := values{}
	var pods []*corev1.Pod
	for _, s := range all {
		progress(s.figures[0].name)
		if len(pods) != s.pods {
			pods = nil
			pods = makePods(s.pods)
		}
		for run := range runs {
			for i := range who {
				c := who[(run+i)%len(who)]
				for f, value := range s.run(c, pods) {
					v.add(s.figures[f].name, c.name, value)
				}
			}
		}
	}
	return v
}
