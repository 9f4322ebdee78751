// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// StopUnused stops the informer of a [Resource] and frees its store when it was not in use
// for this time, from a second to a day. With another time, the start of the hive fails. The
// next use starts the resource again, with a list. resource.WithStopUnused says what a use
// is, and what this costs. Default: a resource that was used runs until the hive stops.
//
// A resource that is stopped is OK for health, with the time of its last use. Its gauges in
// [Metrics] are those of a resource before its first use, and its counters go on.
func StopUnused(after time.Duration) Option { return With(resource.WithStopUnused(after)) }

// stoppedUnused reports that the resource is not in use.
func (r *reporter) stoppedUnused(o informer.StoppedUnused) {
	r.degraded, r.problem, r.status = "", "", ""
	r.say(LevelUnused, o.String()+", the next use starts it", nil)
}

// usedAgain reports that the resource is in use after stoppedUnused.
func (r *reporter) usedAgain() {
	r.say(LevelStarting, "in use again, "+firstList, nil)
}
