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

// healthCell provides cell.Health, by which the parts of a hive say how they are,
// the resources of package cells among them; and *healthBoard, which holds what
// they said last.
var healthCell = cell.Module(
	"health", "What the parts of the application say of their health",

	cell.Provide(newHealthBoard, (*healthBoard).reporter),
)

// healthBoard holds the last report of each scope.
type healthBoard struct {
	mu      sync.Mutex
	reports map[string]healthReport // by scope

	// changed holds a value if something changed since it was last received.
	changed chan struct{}
}

// healthReport is what a scope said last.
type healthReport struct {
	Scope  string
	Level  cell.Level
	Reason string // in a few words
	Detail string // the error, and what can be done about it
}

// String says everything but the level.
func (r healthReport) String() string {
	text := r.Scope + ": " + r.Reason
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	return text
}

// sameAs reports whether the difference is one of detail, such as the port that
// an attempt to connect came from.
func (r healthReport) sameAs(other healthReport) bool {
	return r.Scope == other.Scope && r.Level == other.Level && r.Reason == other.Reason
}

func newHealthBoard() *healthBoard {
	return &healthBoard{reports: map[string]healthReport{}, changed: make(chan struct{}, 1)}
}

// all returns the last reports, by scope.
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
	default: // who looks next, sees this one too
	}
}

func (b *healthBoard) reporter() cell.Health { return healthScope{board: b} }

// healthScope reports for one scope.
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
	for _, verb := range []string{"list ", "watch "} { // of the scope, which is in front already
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
