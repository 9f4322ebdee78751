// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// board is how far the objects are that are waited for. It is used by one goroutine.
type board struct {
	begin  time.Time
	until  status.Condition // of a single object
	there  string           // what objects are for which it is met
	fails  bool             // whether Failed is something to tell of
	rows   []*boardRow      // in the order of the manifests
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

	qualified bool // the kind alone does not tell which it is
	global    bool // its kind has no namespaces, as far as is known
}

// newBoard is for objects of which nothing is known yet. If gone is set they are to
// be gone, else Current.
func newBoard(ids []status.ID, gone bool) *board {
	b := &board{begin: time.Now(), until: status.All(status.Current), there: "Current", fails: true, byID: map[status.ID]*boardRow{}}
	if gone {
		b.until, b.there, b.fails = status.Deleted(nil), "gone", false
	}
	groups := map[string]string{}
	ambiguous := map[string]bool{}
	for i, id := range ids {
		row := &boardRow{number: i, id: id, status: status.ObjectStatus{ID: id, Status: status.Unknown, Reason: status.NotObserved}}
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

// take takes in a status, and returns the row of the object if that looks different
// now, else nil.
func (b *board) take(s status.ObjectStatus) *boardRow {
	row := b.byID[s.ID]
	if row == nil || row.met && !b.fails { // once gone it stays gone, whatever comes under its name
		return nil
	}
	before := row.columns()
	b.count(row, -1)
	met, _ := b.until([]status.ObjectStatus{s}) // never fails
	row.status, row.met = s, met
	row.failed = b.fails && s.Status == status.Failed && s.Stale.IsZero()
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

// done reports whether all is as it is waited for.
func (b *board) done() bool { return b.met == len(b.rows) }

// elapsed is for how long it has been waited, in whole seconds.
func (b *board) elapsed() string { return time.Since(b.begin).Truncate(time.Second).String() }

// summary counts: "12 of 20 are Current, 1 Failed, 45s".
func (b *board) summary() string {
	text := fmt.Sprintf("%d of %d %s %s", b.met, len(b.rows), be(len(b.rows)), b.there)
	if b.failed > 0 {
		text += fmt.Sprintf(", %d Failed", b.failed)
	}
	return text + ", " + b.elapsed()
}

// allThere is the summary when all is done.
func (b *board) allThere() string {
	if len(b.rows) == 1 {
		return fmt.Sprintf("it is %s, %s", b.there, b.elapsed())
	}
	return fmt.Sprintf("all %d are %s, %s", len(b.rows), b.there, b.elapsed())
}

func be(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// columns are what is said of an object: its name, its status in a word, and more of
// it, each in one line.
type columns struct{ name, word, message string }

func (r *boardRow) columns() columns {
	return columns{name: oneLine(r.name()), word: r.word(), message: oneLine(r.message())}
}

// name is kind/namespace/name.
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

// word is the status or, where that cannot be told for certain, the reason.
func (r *boardRow) word() string {
	if r.status.Status == status.Unknown || !r.status.Stale.IsZero() {
		return string(r.status.Reason)
	}
	return string(r.status.Status)
}

func (r *boardRow) message() string {
	s := r.status
	switch {
	case !s.Stale.IsZero():
		return fmt.Sprintf("it was %s: %s", s.Status, r.reason())
	case s.Message != "":
		return s.Message
	}
	return r.reason()
}

// reason is the error, without what was asked for, which is the object.
func (r *boardRow) reason() string {
	text := informer.Explain(r.status.Err)
	for _, verb := range []string{"list ", "watch "} {
		if strings.HasPrefix(text, verb+r.id.GroupKind.String()) {
			_, text, _ = strings.Cut(text, ": ")
		}
	}
	return text
}

// mark is one character for what is there, failed, cannot be told, or is on its way.
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

// oneLine leaves out what would move the cursor of a terminal.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)), " ")
}
