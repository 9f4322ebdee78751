// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
)

// reporter turns what an informer does into health and logs.
//
//   - Nothing is reported before the resource is first used.
//   - OK when a list was read or a watch was accepted.
//   - Degraded, with the cause and the error, when a list failed, or requests are
//     held back after a failure. A watch that breaks and is resumed at once is
//     neither.
//   - Stopped when the hive stops.
type reporter struct {
	health cell.Health // nil if the hive has none

	mu    sync.Mutex
	log   *slog.Logger
	cause informer.Cause // that was reported last
	ended bool
}

// begin is called once, before the first Observe.
func (r *reporter) begin(name string, p plan, log *slog.Logger) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health != nil {
		r.health = r.health.NewScope(name)
	}
	r.log = log.With("resource", name, "selects", p.String())
}

// Observe implements informer.Observer.
func (r *reporter) Observe(_ informer.ReflectorInfo, occurrence informer.Occurrence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.log == nil {
		return
	}
	switch o := occurrence.(type) {
	case informer.ListStarted:
		r.log.Debug("Listing", "reason", string(o.Pass.Reason), "streamed", o.Streamed)
	case informer.ListDone:
		r.log.Info("Listed", "reason", string(o.Pass.Reason), "objects", o.Objects, "took", o.Took, "version", o.Version)
		r.ok(fmt.Sprintf("in step, %d objects at the last list", o.Objects))
	case informer.ListFailed:
		r.degraded("listing", o.Cause, o.Err)
	case informer.WatchOpened:
		r.log.Debug("Watching", "version", o.Version)
		if r.cause != informer.CauseNone {
			r.ok("in step")
		}
	case informer.WatchEnded:
		r.log.Debug("Watch ended", "cause", string(o.Cause), "error", o.Err, "events", o.Events, "lived", o.Lived)
	case informer.RelistNeeded:
		r.log.Info("Listing is needed anew", "reason", string(o.Reason), "error", o.Err)
	case informer.WatchListUnavailable:
		r.log.Info("The server does not stream lists; listing in pages", "error", o.Err, "until", o.Retry)
	case informer.BackingOff:
		r.degraded("listing or watching", o.Cause, o.Err)
	case informer.WentBackwards:
		r.log.Warn("The API server went back to an older version, which is taken as the truth", "from", o.From, "to", o.To)
	}
}

func (r *reporter) ok(status string) {
	if r.health != nil {
		r.health.OK(status)
	}
	if r.cause != informer.CauseNone {
		r.log.Info("In step with the API server again", "after", string(r.cause))
	}
	r.cause = informer.CauseNone
}

func (r *reporter) degraded(doing string, cause informer.Cause, err error) {
	switch cause {
	case informer.CauseNone, informer.CauseCanceled, informer.CauseClosed, informer.CauseExpired:
		return // no failure, or one that the list that follows makes good
	}
	if r.health != nil {
		r.health.Degraded(fmt.Sprintf("%s: %s", doing, cause), err)
	}
	if cause != r.cause {
		r.log.Warn("Not in step with the API server", "while", doing, "cause", string(cause), "error", err)
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
