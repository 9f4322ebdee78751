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

// wordWidth is that of the longest status.
const wordWidth = len("Terminating")

// linePrinter appends a line for each change: for files, pipes and logs.
type linePrinter struct {
	out     io.Writer
	pending []pendingLine
	width   int // of the names
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
	p.measure(b)
	slices.SortStableFunc(p.pending, func(a, b pendingLine) int { return a.number - b.number })
	var text strings.Builder
	for _, l := range p.pending {
		fmt.Fprintf(&text, "%6s  %s\n", l.elapsed, p.columns(l.columns))
	}
	p.pending = nil
	return writeProgress(p.out, text.String())
}

// close names what is not there, and why.
func (p *linePrinter) close(b *board, outcome string) error {
	if err := p.draw(b); err != nil {
		return err
	}
	var text strings.Builder
	for _, row := range b.rows {
		if !row.met {
			if text.Len() == 0 {
				fmt.Fprintf(&text, "not %s:\n", b.there)
			}
			fmt.Fprintf(&text, "  %s\n", p.columns(row.columns()))
		}
	}
	return writeProgress(p.out, text.String()+outcome+"\n")
}

// measure is called once all names are known, but for those that become shorter.
func (p *linePrinter) measure(b *board) {
	if p.width == 0 {
		p.width = nameWidth(b.rows)
	}
}

func (p *linePrinter) columns(c columns) string {
	return strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %s", p.width, c.name, wordWidth, c.word, c.message), " ")
}

func nameWidth(rows []*boardRow) int {
	width := 0
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row.columns().name))
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
