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

// progressPrinter shows how far the objects are. Its methods are called from one
// goroutine.
type progressPrinter interface {
	// changed is told of a row of the board that looks different now.
	changed(b *board, row *boardRow)

	// draw is called at the start, when something changed, but not more often than a
	// person can follow, and if ticks is true each second.
	draw(b *board) error
	ticks() bool

	// close is called at the end, with what came of it.
	close(b *board, outcome string) error
}

// wordWidth is that of the longest status. A reason may be longer.
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

// draw prints what is pending. What comes at once is in the order of the rows.
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

// close names what is not there, and why.
func (p *linePrinter) close(b *board, outcome string) error {
	if err := p.draw(b); err != nil {
		return err
	}
	missing := slices.DeleteFunc(slices.Clone(b.rows), func(r *boardRow) bool { return r.met })
	var text strings.Builder
	if len(missing) > 0 {
		fmt.Fprintf(&text, "not %s:\n", b.there)
	}
	for _, row := range missing {
		fmt.Fprintf(&text, "  %s\n", row.columns().aligned(nameWidth(missing), widestWord(missing)))
	}
	return writeProgress(p.out, text.String()+outcome+"\n")
}

// aligned pads the columns but the last.
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
