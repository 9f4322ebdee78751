// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
)

// healthCell provides cell.Health, to which cells report their health, those of package
// cells too. It also provides *healthBoard, which holds the last reports.
var healthCell = cell.Module(
	"health", "Holds the last health report of each part of the application",

	cell.Provide(newHealthBoard, (*healthBoard).reporter),
)

// healthBoard holds the last report of each scope.
type healthBoard struct {
	mu      sync.Mutex
	reports map[string]healthReport // by scope

	// changed holds a value if something changed since it was last received.
	changed chan struct{}
}

// healthReport is a report of a scope.
type healthReport struct {
	Scope  string
	Level  cell.Level
	Reason string // a few words
	Detail string // the error, with advice
}

// String returns all fields except the level.
func (r healthReport) String() string {
	text := r.Scope + ": " + r.Reason
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// sameAs reports whether r and other differ at most in Detail, such as in the local
// port of a connection.
func (r healthReport) sameAs(other healthReport) bool {
	return r.Scope == other.Scope && r.Level == other.Level && r.Reason == other.Reason
}

func newHealthBoard() *healthBoard {
	return &healthBoard{reports: map[string]healthReport{}, changed: make(chan struct{}, 1)}
}

// all returns the last reports, ordered by scope.
func (b *healthBoard) all() []healthReport {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []healthReport
	for _, scope := range slices.Sorted(maps.Keys(b.reports)) {
		all = append(all, b.reports[scope])
	}
	return all
}

func (b *healthBoard) set(r healthReport) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.reports[r.Scope]
	b.reports[r.Scope] = r
	if !old.sameAs(r) {
		b.notifyLocked()
	}
}

func (b *healthBoard) drop(scope string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.reports, scope)
	b.notifyLocked()
}

func (b *healthBoard) notifyLocked() {
	select {
	case b.changed <- struct{}{}:
	default: // the next receiver sees this report too
	}
}

func (b *healthBoard) reporter() cell.Health { return healthScope{board: b} }

// healthScope reports the health of one scope.
type healthScope struct {
	board *healthBoard
	scope string
}

var _ cell.Health = healthScope{}

// NewScope implements cell.Health.
func (s healthScope) NewScope(name string) cell.Health {
	return healthScope{board: s.board, scope: strings.TrimPrefix(s.scope+"."+name, ".")}
}

// OK implements cell.Health.
func (s healthScope) OK(status string) {
	s.board.set(healthReport{Scope: s.scope, Level: cell.StatusOK, Reason: status})
}

// Degraded implements cell.Health.
func (s healthScope) Degraded(reason string, err error) {
	detail := informer.Explain(err)
	for _, verb := range []string{"list ", "watch "} { // the scope is shown before the detail
		detail = strings.TrimPrefix(detail, verb+s.scope+": ")
	}
	s.board.set(healthReport{Scope: s.scope, Level: cell.StatusDegraded, Reason: reason, Detail: detail})
}

// Stopped implements cell.Health.
func (s healthScope) Stopped(reason string) {
	s.board.set(healthReport{Scope: s.scope, Level: cell.StatusStopped, Reason: reason})
}

// Close implements cell.Health.
func (s healthScope) Close() { s.board.drop(s.scope) }
