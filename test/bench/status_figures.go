// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/devcluster"
)

// goalChange is the goal for the CPU milliseconds for each changed owner.
const goalChange = 5

// statusScenario measures the cost of knowing the statuses of Deployments.
func statusScenario(s sizes) scenario {
	const of = "status of 300 Deployments: "
	return scenario{
		who: statusNames, runs: s.statusRuns,
		figures: []figure{
			{name: of + "ms until all are known", lower: true},
			{name: of + "CPU ms until all are known", lower: true},
			{name: of + "requests until all are known", lower: true},
			{name: of + "requests while nothing changes, 20 s", lower: true, none: true},
			{name: of + "CPU ms while nothing changes, 20 s", lower: true},
			{name: of + "CPU ms per changed Deployment", lower: true, goal: goalChange},
			{name: of + "requests per changed Deployment", lower: true, none: true},
			{name: of + "retained heap, MB", lower: true},
			{name: of + "peak RSS, MB", lower: true},
		},
		together: s.measureStatus,
	}
}

// statusCluster is an API server for the Deployments.
type statusCluster struct {
	config *rest.Config
	stop   func() error
}

// startStatusCluster starts a real API server.
func startStatusCluster(ctx context.Context) (statusCluster, error) {
	cluster, err := devcluster.Start(ctx, devcluster.Config{})
	if err != nil {
		return statusCluster{}, err
	}
	return statusCluster{config: cluster.Config(), stop: func() error { return cluster.Stop(context.Background()) }}, nil
}

// measureStatus makes each contestant, in its own process, follow the same Deployments.
// Some of them change, one after the other.
func (s sizes) measureStatus(names []string) (all [][]float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	cluster, err := s.startStatus(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.stop()) }()
	w, err := newStatusWorkload(cluster.config)
	if err != nil {
		return nil, err
	}
	if err := w.create(ctx, s.statusOwners); err != nil {
		return nil, err
	}
	for _, name := range names {
		got, err := s.followStatus(ctx, name, cluster.config, w)
		if err != nil {
			return nil, err
		}
		all = append(all, got)
	}
	return all, nil
}

func (s sizes) followStatus(ctx context.Context, name string, config *rest.Config, w *statusWorkload) ([]float64, error) {
	f, err := startStatusFollower(statusTask{
		Contestant: name, Server: serverOf(config), Owners: s.statusOwners, Changes: s.statusChanges, Idle: s.statusIdle,
	})
	if err != nil {
		return nil, err
	}
	result, err := f.follow(func() error { // while the process counts the changes
		for i := range s.statusChanges {
			if err := w.fail(ctx, i); err != nil {
				return err
			}
			time.Sleep(s.statusPace)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range s.statusChanges {
		if err := w.succeed(ctx, i); err != nil {
			return nil, err
		}
	}
	changes := float64(s.statusChanges)
	return []float64{
		result.Known.Millis, result.Known.CPU, float64(result.Known.Requests),
		float64(result.Idle.Requests), result.Idle.CPU,
		result.Changed.CPU / changes, float64(result.Changed.Requests) / changes,
		float64(result.Retained) / 1e6, float64(result.PeakRSS) / 1e6,
	}, nil
}
