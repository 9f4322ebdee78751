// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
)

// The goals: bytes per object and subscriber, and percent.
const (
	goalSubscriber = 16
	goalGrowth     = 10
)

// manySubscribers is the number of subscribers in the figures for each further subscriber.
const manySubscribers = 10

// beside returns one bar for some peers, and none for the others.
func beside(bar float64, peers ...string) map[string]float64 {
	bars := map[string]float64{}
	for _, peer := range peers {
		bars[peer] = bar
	}
	return bars
}

// wireScenarios measure readers of collections of a server.
func wireScenarios(s sizes) []scenario {
	bestPeer := func(share_ float64) map[string]float64 {
		return beside(share(share_), nameClientGo, nameCilium, nameController)
	}
	var all []scenario
	for _, size := range []struct {
		objects int
		name    string
	}{{s.wire, "50k"}, {s.wireMany, "100k"}} {
		of := "wire " + size.name + ": "
		sync := beside(share(0.85), nameClientGo, nameCilium)
		sync[nameIdeal] = share(1.25)
		all = append(all, scenario{
			who: wireNames, runs: s.wireRuns,
			figures: []figure{
				{name: of + "CPU s of the first sync", lower: true, bars: sync, vsIdeal: true},
				{name: of + "peak RSS of the first sync above idle, MB", lower: true, bars: bestPeer(0.75), vsIdeal: true},
				{name: of + "peak RSS of the first sync above idle, four fields, MB", lower: true, bars: bestPeer(0.3)},
				{name: of + "peak RSS of the first sync above idle, small type, MB", lower: true, bars: bestPeer(0.1)},
				{name: of + "peak HeapInuse of the first sync, MB", lower: true, vsIdeal: true},
				{name: of + "retained heap bytes per object", lower: true, bars: beside(share(0.4), nameClientGo), vsIdeal: true},
				{name: of + "CPU µs per event, 1 subscriber", lower: true, bars: beside(share(0.65), nameClientGo), vsIdeal: true},
				{name: of + "allocated bytes per event, 1 subscriber", lower: true, bars: beside(share(0.65), nameClientGo), vsIdeal: true},
				{name: of + "CPU µs per event and further subscriber", lower: true, bars: beside(share(0.5), nameCilium)},
				{name: of + "retained bytes per object and further subscriber", lower: true, goal: goalSubscriber},
			},
			together: func(names []string) ([][]float64, error) { return s.measureWire(names, size.name, size.objects) },
		})
	}
	all = append(all, scenario{
		who: wireFollow, runs: s.wireRuns,
		figures: []figure{
			{name: "wire 50k, unchanged: peak HeapInuse of a relist above that before, %", lower: true, goal: goalGrowth},
			{name: "wire 50k, unchanged: events of a relist", lower: true, none: true},
		},
		together: s.measureRelist,
	})
	for _, form := range []struct {
		name string
		who  []string
	}{{wireJSON, wireFollow}, {wireWidgets, wireUntyped}} {
		of := "wire 50k, JSON " + form.name + ": "
		all = append(all, scenario{
			who: form.who, runs: s.wireRuns,
			figures: []figure{
				{name: of + "CPU s of the first sync", lower: true, bars: beside(share(0.6), nameClientGo)},
				{name: of + "peak RSS of the first sync above idle, MB", lower: true},
				{name: of + "retained heap bytes per object", lower: true},
			},
			together: func(names []string) ([][]float64, error) { return s.measureJSON(names, form.name) },
		})
	}
	return all
}

// withHost makes the contestants read the same server, one after the other.
func (s sizes) withHost(l wireLoad, names []string, measure func(h *wireHost, name string) ([]float64, error)) (all [][]float64, err error) {
	h, err := startWireHost(l)
	if err != nil {
		return nil, err
	}
	h.profiles = s.wireProfiles
	defer func() { err = h.stop(err) }()
	for _, name := range names {
		got, err := measure(h, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, got)
	}
	return all, nil
}

// wireSpan holds the results of the process of a contestant.
type wireSpan struct{ sync, retained, change wireResult }

// measureSpan makes a contestant read everything, and then all changes.
func (h *wireHost) measureSpan(name string, subscribers int, t *wireTraces, size string) (span wireSpan, err error) {
	err = h.with(name, subscribers, func(r *wireRun) (err error) {
		stop := t.watch(r.cmd.Process.Pid, size, name)
		span.sync, err = r.step(stepSync)
		stop()
		err2 := r.host.followed()
		if err = errors.Join(err, err2); err != nil {
			return err
		}
		if span.retained, err = r.step(stepRetained); err != nil || h.Rounds == 0 {
			return err
		}
		span.change, err = r.change()
		return err
	})
	return span, err
}

// measureWire measures contestants that read pods in protobuf, in the order of the
// figures. Four fields and the small type are measured for ours only; the others keep
// whole pods.
func (s sizes) measureWire(names []string, size string, objects int) ([][]float64, error) {
	load := wireLoad{wireProtobuf, objects, min(s.wireChanges, objects), s.wireRounds}
	return s.withHost(load, names, func(h *wireHost, name string) ([]float64, error) {
		one, err := h.measureSpan(name, 1, s.wireTraces, size)
		if err != nil {
			return nil, err
		}
		many, err := h.measureSpan(name, manySubscribers, nil, "")
		if err != nil {
			return nil, err
		}
		small, four := one, one
		if name == nameOurs {
			if four, err = h.measureSpan(nameFields, 1, s.wireTraces, size); err != nil {
				return nil, err
			}
			if small, err = h.measureSpan(nameSmall, 1, s.wireTraces, size); err != nil {
				return nil, err
			}
		}
		const further = manySubscribers - 1
		changes := float64(load.Changes * load.Rounds)
		event := func(r wireResult) float64 { return 1e6 * r.CPU / changes }
		return []float64{
			one.sync.CPU, float64(one.sync.PeakRSS) / 1e6, float64(four.sync.PeakRSS) / 1e6, float64(small.sync.PeakRSS) / 1e6, float64(one.sync.PeakHeap) / 1e6,
			float64(one.retained.Retained) / float64(objects),
			event(one.change), float64(one.change.Allocated) / changes,
			(event(many.change) - event(one.change)) / further,
			float64(many.retained.Retained-one.retained.Retained) / float64(further*objects),
		}, nil
	})
}

// measureRelist measures contestants whose watch ends when nothing has changed.
func (s sizes) measureRelist(names []string) ([][]float64, error) {
	return s.withHost(wireLoad{Form: wireProtobuf, Objects: s.wire}, names, func(h *wireHost, name string) (got []float64, err error) {
		err = h.with(name, 1, func(r *wireRun) error {
			if _, _, err := r.sync(); err != nil {
				return err
			}
			result, err := r.relist()
			got = []float64{result.Growth, float64(result.Events)}
			return err
		})
		return got, err
	})
}

// measureJSON measures contestants that read JSON.
func (s sizes) measureJSON(names []string, form string) ([][]float64, error) {
	return s.withHost(wireLoad{Form: form, Objects: s.wire}, names, func(h *wireHost, name string) ([]float64, error) {
		span, err := h.measureSpan(name, 1, nil, "")
		if err != nil {
			return nil, err
		}
		return []float64{
			span.sync.CPU, float64(span.sync.PeakRSS) / 1e6, float64(span.retained.Retained) / float64(s.wire),
		}, nil
	})
}
