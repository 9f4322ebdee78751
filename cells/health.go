// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
)

// reporter reports the state of an informer to health.
//
//   - Nothing is reported before the first use of the resource.
//   - OK after a list, after a request that failed succeeds, and after a page beyond the
//     point where the list failed.
//   - OK while the informer polls, with the interval and the cause. Alert on the metric
//     polling.
//   - Degraded during a backoff, with what failed, the cause and the newest error. A watch
//     that breaks and is resumed at once is not reported.
//   - Degraded while an object is left out, with its key and the error. Alert on the metric
//     left_out.
//   - Degraded while a consumer fails over the limits of [DegradedAfter], with its key, the
//     time of the first failure, and the error. A failure of the informer is shown instead
//     of it. Alert on the metric retrying_oldest_seconds.
//   - OK with the time of the last use while the resource is stopped by [StopUnused], and
//     while it starts again.
//   - Stopped when the hive stops.
//
// See observeNamespaces for a set of namespaces.
type reporter struct {
	mu       sync.Mutex
	health   cell.Health // nil if the hive has none
	shown    shown
	status   string // the last OK
	degraded string // the failure that was reported last; empty: none
	problem  string // beside an OK, that was reported last; empty: none
	ended    bool

	consumers failingConsumers
	members   map[string]informer.ReflectorInfo // by namespace, of a set; nil: there is no set
}

func newReporter(o *options) *reporter {
	return &reporter{
		shown:     shown{level: LevelUnused, status: "nobody has asked for it", since: time.Now()},
		consumers: failingConsumers{limits: o.limits},
	}
}

// Observe implements informer.Observer.
func (r *reporter) Observe(info informer.ReflectorInfo, occurrence informer.ReflectorEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	if r.consumers.all.observe(occurrence, r.consumers.limits.isOver) {
		if r.degraded == "" {
			if r.members != nil {
				info = r.combined()
			}
			r.refresh(info)
		}
		return
	}
	if r.observeNamespaces(info, occurrence) {
		return
	}
	switch o := occurrence.(type) {
	case informer.ListStarted:
		if r.shown.level == LevelUnused {
			r.starting()
		}
	case informer.ListDone:
		r.ok(info, fmt.Sprintf("%s, %s at the last list", howSynced(info.Polling), objects(o.Objects)))
	case informer.Polling:
		r.ok(info, howSynced(&o))
	case informer.PageRead:
		if r.degraded != "" && info.Err == nil {
			r.ok(info, fmt.Sprintf("listing, page %d was read", o.Number))
		}
	case informer.WatchOpened:
		if p := info.Polling; p != nil && p.Cause != informer.CauseSilent {
			r.ok(info, howSynced(nil))
		}
	case informer.WatchProved:
		r.ok(info, howSynced(nil))
	case informer.Recovered:
		if r.degraded != "" {
			r.ok(info, howSynced(info.Polling))
		}
	case informer.ObjectLeftOut, informer.LeftOutEnded:
		if r.degraded == "" && info.Passes > 0 {
			r.ok(info, howSynced(info.Polling))
		}
	case informer.BackingOff:
		r.failed(o)
	case informer.StoppedUnused:
		r.stoppedUnused(o)
	case informer.UsedAgain:
		r.usedAgain()
	}
}

// starting shows that the first list goes on. Health does not get this.
func (r *reporter) starting() {
	r.shown = shown{level: LevelStarting, status: firstList, since: time.Now()}
}

// howSynced describes an informer that works.
func howSynced(p *informer.Polling) string {
	if p == nil {
		return "synced"
	}
	return fmt.Sprintf("synced by polling every %v (watch is %s)", p.Every, p.Cause)
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// ok reports OK, or Degraded if objects are left out or a consumer fails.
func (r *reporter) ok(info informer.ReflectorInfo, status string) {
	r.degraded, r.status = "", status
	if problem, _ := r.problemOf(info); problem == "" {
		r.problem = ""
		r.say(LevelOK, status, nil)
		return
	}
	r.refresh(info)
}

// refresh reports the problems beside the last OK, if they have changed.
func (r *reporter) refresh(info informer.ReflectorInfo) {
	problem, err := r.problemOf(info)
	if problem+check.Gist(err) == r.problem {
		return
	}
	r.problem = problem + check.Gist(err)
	status := cmp.Or(r.status, "not synced")
	if problem == "" {
		r.say(LevelOK, status, nil)
		return
	}
	r.say(LevelDegraded, status+", "+problem, err)
}

// problemOf describes objects that are left out and consumers that fail. It is empty if
// there are none.
func (r *reporter) problemOf(info informer.ReflectorInfo) (text string, err error) {
	text, err = r.consumers.problem()
	if len(info.LeftOut) == 0 {
		return text, err
	}
	first := info.LeftOut[0]
	name := "one without a name"
	if first.Meta.Key.Name != "" {
		name = first.Meta.Key.String()
	}
	left := objects(len(info.LeftOut)) + " left out: " + name
	if info.MoreLeftOut {
		left = "more than " + left
	}
	if len(info.LeftOut) > 1 {
		left += " and others"
	}
	if text == "" {
		return left, first.Err
	}
	return text + ", " + left, err
}

// failed reports a failure, unless it is the one that was reported last.
func (r *reporter) failed(o informer.BackingOff) {
	if isFailure(o.Cause) {
		r.degrade(o.String(), o.Err)
	}
}

// isFailure returns false if nothing failed, or if the list that follows makes it good.
func isFailure(cause informer.Cause) bool {
	switch cause {
	case informer.CauseNone, informer.CauseCanceled, informer.CauseClosed, informer.CauseExpired:
		return false
	}
	return true
}

func (r *reporter) degrade(reason string, err error) {
	if degraded := reason + ": " + check.RequestGist(err); degraded != r.degraded {
		r.say(LevelDegraded, reason, err)
		r.degraded, r.problem = degraded, ""
	}
}

// stopped is called when the informer has ended.
func (r *reporter) stopped(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.say(LevelStopped, reason, nil)
}

// shown is what health shows.
type shown struct {
	level  Level
	status string
	err    error
	since  time.Time // the level is the same
}

// firstList is the status of LevelStarting.
const firstList = "the first list is not complete yet"

// say shows a status, in health too if the hive has it.
func (r *reporter) say(level Level, status string, err error) {
	next := shown{level: level, status: status, err: err, since: r.shown.since}
	if level != r.shown.level {
		next.since = time.Now()
	}
	r.shown = next
	switch {
	case r.health == nil:
	case level == LevelDegraded:
		r.health.Degraded(status, err)
	case level == LevelStopped:
		r.health.Stopped(status)
	default:
		r.health.OK(status)
	}
}

// current returns what health shows, and what it would show where it is silent.
func (r *reporter) current() shown {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown
}

// label makes a cause or a state a value of a metric's label.
func label[S ~string](s S) string {
	return strings.ReplaceAll(string(s), " ", "_")
}
