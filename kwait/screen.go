// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/status"
)

// screenPrinter keeps a line for each object up to date on a terminal.
type screenPrinter struct {
	out    io.Writer
	size   func() (width, height int)
	styled bool
	opened bool
}

func newScreenPrinter(out io.Writer, size func() (width, height int), styled bool) *screenPrinter {
	return &screenPrinter{out: out, size: size, styled: styled}
}

// ticks returns true: the screen has a clock.
func (p *screenPrinter) ticks() bool { return true }

func (p *screenPrinter) changed(*board, *boardRow) {} // draw shows all rows

func (p *screenPrinter) draw(b *board) error {
	width, height := p.size()
	var text strings.Builder
	if !p.opened {
		text.WriteString(cli.EnterScreen)
		p.opened = true
	}
	text.WriteString(cli.Home)
	for _, l := range p.lines(b, height-1) {
		text.WriteString(l.fit(width, p.styled) + cli.EndOfLine + "\r\n")
	}
	text.WriteString(cli.ToTheEnd)
	return writeProgress(p.out, text.String())
}

// close prints the last state on the ordinary screen. The worst rows are last, near the
// cursor.
func (p *screenPrinter) close(b *board, end ending) error {
	var text strings.Builder
	if p.opened {
		text.WriteString(cli.LeaveScreen)
	}
	rows := byState(b.rows, 1)
	for i, l := range rowLines(rows) {
		text.WriteString(l.fit(0, p.styled) + "\r\n")
		for _, line := range rows[i].why.lines() {
			text.WriteString("    " + line + "\r\n")
		}
	}
	for _, line := range end.lines() {
		text.WriteString(line + "\r\n")
	}
	return writeProgress(p.out, text.String())
}

// lines returns the board in at most height lines, at least one.
func (p *screenPrinter) lines(b *board, height int) []coloured {
	rows, room := b.rows, max(height-1, 0)
	var more []coloured
	if len(rows) > room {
		rows = byState(rows, -1)[:max(room-1, 0)]
		if room > 0 {
			more = []coloured{{{text: fmt.Sprintf("… and %d more", len(b.rows)-len(rows))}}}
		}
	}
	return slices.Concat(rowLines(rows), more, []coloured{{{text: b.summary()}}})
}

// byState returns the rows sorted by state. With direction 1, rows that meet the
// goal come first, and failed rows last; with -1 it is the other way round. Rows
// of the same state keep their order.
func byState(rows []*boardRow, direction int) []*boardRow {
	rank := func(r *boardRow) int {
		switch {
		case r.met:
			return 0
		case r.failed:
			return 2
		}
		return 1
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b *boardRow) int { return direction * (rank(a) - rank(b)) })
	return rows
}

func rowLines(rows []*boardRow) []coloured {
	name, word := nameWidth(rows), widestWord(rows)
	lines := make([]coloured, len(rows))
	for i, row := range rows {
		c, colour := row.columns(), row.colour()
		lines[i] = coloured{
			{text: row.mark(), colour: colour},
			{text: fmt.Sprintf(" %-*s  ", name, c.name)},
			{text: fmt.Sprintf("%-*s", word, c.word), colour: colour},
			{text: "  " + joined("; ", c.message, row.worst())},
		}
	}
	return lines
}

// worst describes a Pod that is not ready while an object does not meet the goal. It is
// empty for a Pod itself, and at the end, when all are shown.
func (r *boardRow) worst() string {
	pods, _ := unready(r.status)
	if r.met || r.id.GroupKind == podKind || len(pods) == 0 || len(r.why.Pods) > 0 {
		return ""
	}
	return containers(pods[0])[0].String()
}

func (r *boardRow) colour() string {
	switch {
	case r.met:
		return cli.Green
	case r.failed:
		return cli.Red
	case r.status.Reason == status.NotObserved:
		return ""
	}
	return cli.Yellow
}

// coloured is a line of text in parts, each of which can have a colour.
type coloured []struct{ text, colour string }

// fit cuts a line to the width of the terminal, so that it does not wrap. A width of 0
// means no limit.
func (l coloured) fit(width int, styled bool) string {
	total := 0
	for _, part := range l {
		total += len([]rune(part.text))
	}
	cut := width > 0 && total > width
	var b strings.Builder
	for i, part := range l {
		text := []rune(part.text)
		last := cut && len(text) >= width
		switch {
		case last:
			text = append(text[:width-1], '>')
		case i == len(l)-1:
			text = []rune(strings.TrimRight(string(text), " "))
		}
		width -= len(text)
		if styled && part.colour != "" {
			b.WriteString(part.colour + string(text) + cli.Plain)
		} else {
			b.WriteString(string(text))
		}
		if last {
			break
		}
	}
	return b.String()
}
