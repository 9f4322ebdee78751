// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"strings"
	"sync"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
)

// reporter turns what an informer does into health.
//
//   - Nothing is reported before the resource is first used.
//   - OK when a list was read, or a watch was accepted after a failure.
//   - OK as well, with the interval and the cause, while it polls because it may
//     not watch: nothing fails, and nothing but the delay is lost. The metric
//     polling is what to alert on.
//   - Degraded, with the cause and the error, when a list failed, or requests are
//     held back after a failure. A watch that breaks and is resumed at once is
//     neither.
//   - Stopped when the hive stops.
type reporter struct {
	mu     sync.Mutex
	health cell.Health    // nil if the hive has none
	cause  informer.Cause // that was reported last
	ended  bool
}

// Observe implements informer.Observer.
func (r *reporter) Observe(info informer.ReflectorInfo, occurrence informer.Occurrence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.health == nil {
		return
	}
	switch o := occurrence.(type) {
	case informer.ListDone:
		r.ok(fmt.Sprintf("%s, objects at the last list: %d", inStep(info.Polling), o.Objects))
	case informer.Polling:
		r.ok(inStep(&o))
	case informer.WatchOpened:
		if r.cause != informer.CauseNone || info.Polling != nil {
			r.ok(inStep(nil))
		}
	case informer.ListFailed:
		r.degraded("listing", o.Cause, o.Err)
	case informer.BackingOff:
		r.degraded("listing or watching", o.Cause, o.Err)
	}
}

// inStep says how an informer that works is kept up to date.
func inStep(p *informer.Polling) string {
	if p == nil {
		return "in step"
	}
	return fmt.Sprintf("polling every %v: watch is %s", p.Every, p.Cause)
}

func (r *reporter) ok(status string) {
	r.health.OK(status)
	r.cause = informer.CauseNone
}

func (r *reporter) degraded(doing string, cause informer.Cause, err error) {
	switch cause {
	case informer.CauseNone, informer.CauseCanceled, informer.CauseClosed, informer.CauseExpired:
		return // no failure, or one that the list that follows makes good
	}
	if cause != r.cause {
		r.health.Degraded(fmt.Sprintf("%s: %s", doing, cause), err)
	}
	r.cause = cause
}

// stopped is called when the informer has ended.
func (r *reporter) stopped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	if r.health != nil {
		r.health.Stopped("stopped")
	}
}

// label makes a cause or a state a value of a metric's label.
func label[S ~string](s S) string {
	return strings.ReplaceAll(string(s), " ", "_")
}
