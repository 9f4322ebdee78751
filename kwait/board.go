// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// board is the progress of the objects in a wait. One goroutine uses it.
type board struct {
	begin  time.Time
	until  status.Condition // called for one object at a time
	goal   goal
	rows   []*boardRow // in the order of the manifests
	byID   map[status.ID]*boardRow
	met    int
	failed int
}

// boardRow is one object.
type boardRow struct {
	number int
	id     status.ID
	status status.ObjectStatus
	met    bool
	failed bool
	why    why // at the end

	goal      goal
	qualified bool // another row has the same kind in another group
	global    bool // its kind is known to be cluster-scoped
}

// newBoard returns a board for objects that were not read yet.
func newBoard(ids []status.ID, g goal) *board {
	b := &board{begin: time.Now(), until: status.All(status.Current), goal: g, byID: map[status.ID]*boardRow{}}
	if g.deleted {
		b.until = status.Deleted(nil)
	}
	groups := map[string]string{}
	ambiguous := map[string]bool{}
	for i, id := range ids {
		row := &boardRow{number: i, id: id, goal: g, global: id.Namespace == "", status: status.ObjectStatus{ID: id, Status: status.Unknown, Reason: status.NotObserved}}
		b.rows = append(b.rows, row)
		b.byID[id] = row
		group, seen := groups[id.GroupKind.Kind]
		ambiguous[id.GroupKind.Kind] = ambiguous[id.GroupKind.Kind] || seen && group != id.GroupKind.Group
		groups[id.GroupKind.Kind] = id.GroupKind.Group
	}
	for _, row := range b.rows {
		row.qualified = ambiguous[row.id.GroupKind.Kind]
	}
	return b
}

// take updates the row of a status. It returns the row if that looks different now, and
// nil if not.
func (b *board) take(s status.ObjectStatus) *boardRow {
	row := b.byID[s.ID]
	if row == nil || row.met && b.goal.deleted { // once gone it stays gone, whatever comes under its name
		return nil
	}
	before := row.columns()
	b.count(row, -1)
	met, _ := b.until([]status.ObjectStatus{s}) // never fails
	row.status, row.met = s, met
	row.failed = b.goal.fails(s)
	if s.Object != nil {
		row.global = s.Object.GetNamespace() == ""
	}
	b.count(row, 1)
	if row.columns() == before {
		return nil
	}
	return row
}

func (b *board) count(row *boardRow, by int) {
	if row.met {
		b.met += by
	}
	if row.failed {
		b.failed += by
	}
}

// missing returns the rows that do not meet the goal.
func (b *board) missing() []*boardRow {
	return slices.DeleteFunc(slices.Clone(b.rows), func(r *boardRow) bool { return r.met })
}

// done reports whether all objects meet the goal.
func (b *board) done() bool { return b.met == len(b.rows) }

// elapsed returns the duration of the wait in whole seconds.
func (b *board) elapsed() string { return time.Since(b.begin).Truncate(time.Second).String() }

// summary returns a text such as "12 of 20 are Current, 1 Failed, 45s".
func (b *board) summary() string {
	text := fmt.Sprintf("%d of %d %s %s", b.met, len(b.rows), be(len(b.rows)), b.goal)
	if b.failed > 0 {
		text += fmt.Sprintf(", %d Failed", b.failed)
	}
	return text + ", " + b.elapsed()
}

// allThere returns the summary when all objects meet the goal.
func (b *board) allThere() string {
	if len(b.rows) == 1 {
		return fmt.Sprintf("it is %s, %s", b.goal, b.elapsed())
	}
	return fmt.Sprintf("all %d are %s, %s", len(b.rows), b.goal, b.elapsed())
}

func be(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// columns are the texts of a row, each in one line: the name, the status in one word,
// and details.
type columns struct{ name, word, message string }

func (r *boardRow) columns() columns {
	return columns{name: oneLine(r.name()), word: r.word(), message: oneLine(r.message())}
}

// name returns kind/namespace/name.
func (r *boardRow) name() string {
	kind := r.id.GroupKind.Kind
	if r.qualified {
		kind = r.id.GroupKind.String()
	}
	if r.global {
		return kind + "/" + r.id.Name
	}
	return kind + "/" + r.id.Namespace + "/" + r.id.Name
}

// word returns the status, the reason if the status is Unknown or stale, or the condition
// if the object has it.
func (r *boardRow) word() string {
	if r.met && r.goal.condition != nil {
		return r.goal.String()
	}
	if r.status.Status == status.Unknown || !r.status.Stale.IsZero() {
		return string(r.status.Reason)
	}
	return string(r.status.Status)
}

func (r *boardRow) message() string {
	s := r.status
	switch {
	case !s.Stale.IsZero():
		return fmt.Sprintf("last seen %s: %s", s.Status, r.reason())
	case s.Message != "":
		return s.Message
	}
	return r.reason()
}

// reason returns the text of the error without the object, which the row shows already.
func (r *boardRow) reason() string {
	text := informer.Explain(r.status.Err)
	for _, verb := range []string{"list ", "watch ", "streamed list of "} {
		if strings.HasPrefix(text, verb+r.id.GroupKind.String()) {
			_, text, _ = strings.Cut(text, ": ")
		}
	}
	return text
}

// mark returns one character: for an object that meets the goal, has failed,
// cannot be read, or is in progress.
func (r *boardRow) mark() string {
	switch {
	case r.met:
		return "✓"
	case r.failed:
		return "✗"
	case r.status.Status == status.Unknown && r.status.Reason != status.NotObserved, !r.status.Stale.IsZero():
		return "!"
	}
	return "-"
}

// oneLine replaces characters that would move the cursor of a terminal.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
}
