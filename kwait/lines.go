// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// progressPrinter shows the progress of the objects. Its methods are called from one
// goroutine.
type progressPrinter interface {
	// changed receives a row that looks different now.
	changed(b *board, row *boardRow)

	// draw is called at the start and after changes, at a rate that a person can
	// follow. If ticks is true it is also called each second.
	draw(b *board) error
	ticks() bool

	// close is called at the end.
	close(b *board, end ending) error
}

// ending is how a wait has ended.
type ending struct {
	result  string // see jsonl.go
	code    int    // the exit code
	text    string
	problem string // why events are not shown, or empty
}

// lines returns the lines at the end of a text.
func (e ending) lines() []string {
	if e.problem != "" {
		return []string{e.problem, e.text}
	}
	return []string{e.text}
}

// wordWidth is the width of the longest status. A reason can be longer.
const wordWidth = len("Terminating")

// linePrinter appends a line for each change: for files, pipes and logs.
type linePrinter struct {
	out     io.Writer
	pending []pendingLine
}

type pendingLine struct {
	number  int // of the row
	elapsed string
	columns
}

func newLinePrinter(out io.Writer) *linePrinter { return &linePrinter{out: out} }

func (p *linePrinter) ticks() bool { return false }

func (p *linePrinter) changed(b *board, row *boardRow) {
	p.pending = append(p.pending, pendingLine{number: row.number, elapsed: b.elapsed(), columns: row.columns()})
}

// draw prints the pending lines in the order of their rows.
func (p *linePrinter) draw(b *board) error {
	slices.SortStableFunc(p.pending, func(a, b pendingLine) int { return a.number - b.number })
	width := nameWidth(b.rows)
	var text strings.Builder
	for _, l := range p.pending {
		fmt.Fprintf(&text, "%6s  %s\n", l.elapsed, l.aligned(width, wordWidth))
	}
	p.pending = nil
	return writeProgress(p.out, text.String())
}

// close prints the objects that do not meet the goal, with the reasons, and the outcome.
func (p *linePrinter) close(b *board, end ending) error {
	if err := p.draw(b); err != nil {
		return err
	}
	missing := b.missing()
	var text strings.Builder
	if len(missing) > 0 {
		fmt.Fprintf(&text, "not %s:\n", b.goal)
	}
	for _, row := range missing {
		fmt.Fprintf(&text, "  %s\n", row.columns().aligned(nameWidth(missing), widestWord(missing)))
		for _, line := range row.why.lines() {
			fmt.Fprintf(&text, "    %s\n", line)
		}
	}
	for _, line := range end.lines() {
		text.WriteString(line + "\n")
	}
	return writeProgress(p.out, text.String())
}

// aligned pads all columns except the last.
func (c columns) aligned(name, word int) string {
	return strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %s", name, c.name, word, c.word, c.message), " ")
}

func nameWidth(rows []*boardRow) int {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row.columns().name))
	}
	return width
}

func widestWord(rows []*boardRow) int {
	width := 0
	for _, row := range rows {
		width = max(width, len(row.word()))
	}
	return width
}

func writeProgress(out io.Writer, text string) error {
	if text == "" {
		return nil
	}
	if _, err := io.WriteString(out, text); err != nil {
		return fmt.Errorf("write the progress: %w", err)
	}
	return nil
}
