// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"runtime"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer/mirror"
)

// The goals, in bytes.
const (
	goalPeakHeap = 170e6
	goalPerKey   = 96
)

// sameHeld is the minimum of the ratio of the memory held with 100k pods to that with
// 500k. It is below 1 because of noise.
const sameHeld = 0.9

// nameFewer is ours with fewer pods.
const nameFewer = "100k"

// nameMap is the peer of a storage of versions: a map from "namespace/name" to the
// version, without UIDs.
const nameMap = "map"

// mirrorScenarios are the scenarios with separate processes, and that of the storage.
func mirrorScenarios(s sizes) []scenario {
	var all []scenario
	for _, size := range []struct {
		objects int
		name    string
		goal    float64 // for the peak, MB
	}{{s.mirrored, "100k", 0}, {s.mirroredMany, "500k", goalPeakHeap / 1e6}} {
		of := "mirror " + size.name + ": "
		all = append(all, scenario{
			who: mirrorNames, runs: s.mirrorRuns,
			figures: []figure{
				{name: of + "ms to synced", lower: true},
				{name: of + "ms to synced after a restart", lower: true},
				{name: of + "CPU s to synced", lower: true},
				{name: of + "peak HeapInuse, MB", lower: true, goal: size.goal},
				{name: of + "peak RSS, MB", lower: true},
				{name: of + "retained heap bytes per object", lower: true},
			},
			run: func(name string, _ []*corev1.Pod) ([]float64, error) { return s.measureMirror(name, size.objects) },
		})
	}
	all = append(all, scenario{
		who: []string{nameOurs, nameFewer}, runs: s.mirrorRuns,
		figures: []figure{{name: "mirror 500k: heap held beside the versions, MB", lower: true, bar: sameHeld}},
		run: func(name string, _ []*corev1.Pod) ([]float64, error) {
			if name == nameFewer {
				return s.measureHeld(s.mirrored)
			}
			return s.measureHeld(s.mirroredMany)
		},
	})
	return append(all, scenario{
		who:     []string{nameOurs, nameMap},
		figures: []figure{{name: "version storage: heap bytes per key, 500k keys", lower: true, goal: goalPerKey}},
		run:     func(name string, _ []*corev1.Pod) ([]float64, error) { return measureStorage(name, s.mirroredMany) },
	})
}

// mirrorSource serves a collection.
type mirrorSource interface {
	// do carries out a task with the collection.
	do(mirrorTask) (mirrorResult, error)

	// stop ends the source, and returns when it has ended.
	stop() error
}

// withSource carries out tasks with a source of this number of pods.
func (s sizes) withSource(objects int, tasks ...mirrorTask) (results []mirrorResult, err error) {
	source, err := s.startSource(objects)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.stop()) }()
	for _, t := range tasks {
		t.objects = objects
		result, err := source.do(t)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// measureMirror measures a contestant. Only ours uses the versions that were recorded
// before a restart. The others read everything again.
func (s sizes) measureMirror(name string, objects int) ([]float64, error) {
	tasks := []mirrorTask{{contestant: name}}
	if name == nameOurs {
		tasks = append(tasks, mirrorTask{contestant: name, restart: true})
	}
	results, err := s.withSource(objects, tasks...)
	if err != nil {
		return nil, err
	}
	start, restart := results[0], results[len(results)-1]
	return []float64{
		start.Millis, restart.Millis, start.CPU,
		float64(start.PeakHeap) / 1e6, float64(start.PeakRSS) / 1e6,
		float64(start.Retained) / float64(objects),
	}, nil
}

// measureHeld returns the megabytes of ours, without the versions, while its handler is
// stopped.
func (s sizes) measureHeld(objects int) ([]float64, error) {
	results, err := s.withSource(objects, mirrorTask{contestant: nameOurs, hold: true})
	if err != nil {
		return nil, err
	}
	return []float64{float64(results[0].Held) / 1e6}, nil
}

// measureStorage returns the heap bytes of a key and everything that is kept for it.
func measureStorage(name string, keys int) ([]float64, error) {
	var (
		kept   any
		err    error
		before = heap()
	)
	if name == nameMap {
		versions := map[string]string{}
		for i := range keys {
			meta := metaOf(i, keys)
			versions[meta.Key.String()] = strings.Clone(meta.Version)
		}
		kept = versions
	} else {
		storage := mirror.NewResourceVersionStorage()
		for i := range keys {
			err = errors.Join(err, storage.Set(metaOf(i, keys), 0))
		}
		kept = storage
	}
	after := heap()
	runtime.KeepAlive(kept)
	return []float64{float64(after-before) / float64(keys)}, err
}
