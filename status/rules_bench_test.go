// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"testing"
	"time"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"github.com/apiary-go/apiary/status"
)

// Compute beside that of kstatus, in turns; the ratio is how many times as long
// kstatus takes.
func BenchmarkCompute(b *testing.B) {
	for name, object := range map[string]string{
		"Deployment": `apps/v1 Deployment {metadata: {generation: 3}, spec: {replicas: 2, progressDeadlineSeconds: 600}, status: {observedGeneration: 3, ` +
			`replicas: 2, updatedReplicas: 2, availableReplicas: 2, readyReplicas: 2, conditions: [{type: Available, status: "True", reason: MinimumReplicasAvailable}, ` +
			`{type: Progressing, status: "True", reason: NewReplicaSetAvailable}]}}`,
		"ReplicaSet": `apps/v1 ReplicaSet {metadata: {generation: 3}, spec: {replicas: 2}, status: {observedGeneration: 3, ` +
			`replicas: 2, fullyLabeledReplicas: 2, availableReplicas: 2, readyReplicas: 2}}`,
		"Pod": `v1 Pod {status: {phase: Running, conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "True"}, ` +
			`{type: ContainersReady, status: "True"}, {type: PodScheduled, status: "True"}], containerStatuses: [{name: a, state: {running: {}}}]}}`,
		"StatefulSet": `apps/v1 StatefulSet {spec: {replicas: 3}, status: {replicas: 3, readyReplicas: 3, currentReplicas: 3}}`,
	} {
		b.Run(name, func(b *testing.B) {
			obj := rulesObject(b, object)
			now := time.Now()
			const round = 100
			var ours, theirs time.Duration
			for b.Loop() {
				start := time.Now()
				for range round {
					if _, err := (*status.Rules)(nil).Compute(obj, nil, now); err != nil {
						b.Fatal(err)
					}
				}
				middle := time.Now()
				for range round {
					if _, err := kstatus.Compute(obj); err != nil {
						b.Fatal(err)
					}
				}
				ours, theirs = ours+middle.Sub(start), theirs+time.Since(middle)
			}
			calls := float64(b.N * round)
			b.ReportMetric(float64(ours.Nanoseconds())/calls, "ours-ns")
			b.ReportMetric(float64(theirs.Nanoseconds())/calls, "kstatus-ns")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "ratio")
			b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = (*status.Rules)(nil).Compute(obj, nil, now) }), "ours-allocs")
			b.ReportMetric(testing.AllocsPerRun(100, func() { _, _ = kstatus.Compute(obj) }), "kstatus-allocs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
