// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"time"

	"github.com/apiary-go/apiary/informer/mirror"
)

var (
	descPending      = describeOf("mirror", "pending", "Changes that the handler has not acknowledged.")
	descPendingBytes = describeOf("mirror", "pending_bytes", "Estimated size of the objects that the handler has not acknowledged.")
	descFailing      = describeOf("mirror", "failing", "Keys whose handler call failed and will be retried.")
	descHeldBack     = describeOf("mirror", "held_back_seconds", "Age of the oldest change that holds back the resume version.")
	descCalls        = describeOf("mirror", "calls_total", "Calls of the handler, by call and result.", "call", "result")
	descUnchanged    = describeOf("mirror", "unchanged_total", "Listed objects that the mirror had in the same version.")
)

// mirror writes the metrics of a mirror.
func (e emitter) mirror(s mirror.InformerStats) {
	e.informer(s.Synced, s.Recorded, s.Reflector)
	e.counter(descStale, s.Stale)
	e.counter(descPanics, s.Panics)
	e.gauge(descPending, float64(s.Pending))
	e.gauge(descPendingBytes, float64(s.PendingBytes))
	e.gauge(descFailing, float64(s.Failing))
	held := 0.0
	if s.HeldBack != nil {
		held = time.Since(s.HeldBack.Since).Seconds()
	}
	e.gauge(descHeldBack, held)
	e.counter(descCalls, s.Added, "add", "ok")
	e.counter(descCalls, s.Updated, "update", "ok")
	e.counter(descCalls, s.Deleted, "delete", "ok")
	e.counter(descCalls, s.Shown, "sync", "ok")
	e.counter(descCalls, s.NotKept, "any", "not_kept")
	e.counter(descCalls, s.Failures, "any", "failed")
	e.counter(descUnchanged, s.Unchanged)
}
