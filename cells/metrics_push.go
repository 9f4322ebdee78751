// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import "github.com/apiary-go/apiary/informer/push"

var (
	descPushPending   = describeOf("push", "pending", "Changes that the consumer has not accepted.")
	descPushBytes     = describeOf("push", "pending_bytes", "Estimated size of the objects that the consumer has not accepted.")
	descPushFailing   = describeOf("push", "failing", "Keys that the consumer refused, to be tried again.")
	descPushDead      = describeOf("push", "dead_letters", "Keys that the consumer refused too often. They are tried again when they change, and in the next snapshot.")
	descPushSnapshots = describeOf("push", "snapshots_total", "Snapshots that the consumer accepted.")
	descPushBatches   = describeOf("push", "batches_total", "Batches passed to the consumer.", "result")
	descPushChanges   = describeOf("push", "changes_total", "Changes by their result.", "result")
)

// push writes the metrics of a push.
func (e emitter) push(s push.BatcherStats) {
	e.informer(s.Synced, s.Accepted, s.Reflector)
	e.counter(descStale, s.Stale)
	e.counter(descPanics, s.Panics)
	e.gauge(descPushPending, float64(s.Pending))
	e.gauge(descPushBytes, float64(s.PendingBytes))
	e.gauge(descPushFailing, float64(s.Failing))
	e.gauge(descPushDead, float64(s.Dead))
	e.counter(descPushSnapshots, s.Snapshots)
	e.counter(descPushBatches, s.Batches, "ok")
	e.counter(descPushBatches, s.Failures, "failed")
	e.counter(descPushChanges, s.Changes, "ok")
	e.counter(descPushChanges, s.Refused, "refused")
	e.counter(descPushChanges, s.Vanished, "vanished")
	e.counter(descPushChanges, s.Fenced, "in_snapshot")
}
