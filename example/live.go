// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/apiary-go/apiary/internal/cli"
)

const (
	// freshFor is how long a change stays marked.
	freshFor = 4 * time.Second

	// recentChanges is how many changes are listed.
	recentChanges = 8
)

// livePrinter keeps one table up to date on a terminal.
type livePrinter struct {
	out    io.Writer
	size   func() (width, height int)
	styled bool
	recent []change
	opened bool
}

func newLivePrinter(out io.Writer, size func() (width, height int), styled bool) *livePrinter {
	return &livePrinter{out: out, size: size, styled: styled}
}

// ticks returns true: the clock and the marks change without a change.
func (p *livePrinter) ticks() bool { return true }

func (p *livePrinter) changed(changes []change) error {
	for _, c := range changes {
		switch c.Change {
		case synced: // the state at the start is not a change
			p.recent = nil
		case healthChanged: // statusLines shows it
		default:
			p.recent = append(p.recent, c)
		}
	}
	p.recent = slices.Clone(p.recent[max(0, len(p.recent)-1000):])
	return nil
}

func (p *livePrinter) draw(now picture) error {
	width, height := p.size()
	var b strings.Builder
	if !p.opened {
		b.WriteString(cli.EnterScreen)
		p.opened = true
	}
	b.WriteString(cli.Home)
	lines := p.lines(now, width, height-1)
	for _, l := range lines {
		b.WriteString(p.style(l, width))
		b.WriteString(cli.EndOfLine + "\r\n")
	}
	b.WriteString(cli.ToTheEnd)
	return p.write(b.String())
}

// close prints the last state on the ordinary screen.
func (p *livePrinter) close(last picture) error {
	var b strings.Builder
	if p.opened {
		b.WriteString(cli.LeaveScreen)
	}
	p.recent, last.Hint = nil, ""
	for _, l := range p.lines(last, 1<<20, 1<<20) {
		b.WriteString(l.String() + "\r\n")
	}
	return p.write(b.String())
}

// lines returns the picture in at most height lines.
func (p *livePrinter) lines(now picture, width, height int) []line {
	var fresh []change
	for _, c := range p.recent {
		if now.Time.Sub(c.Time) < freshFor {
			fresh = append(fresh, c)
		}
	}
	head := []line{{text: now.Title}}
	if now.Hint != "" {
		head = append(head, line{text: now.Hint})
	}
	head = append(head, line{text: now.Time.Format("15:04:05") + "  " + summary(now)})
	for _, text := range statusLines(now) {
		for _, part := range wrap(text, width-4) {
			head = append(head, line{text: part})
		}
	}
	head = append(head, line{})

	var foot []line
	if recent := p.recent[max(0, len(p.recent)-recentChanges):]; len(recent) > 0 {
		foot = append(foot, line{})
		for i, text := range changeLines(recent) {
			foot = append(foot, line{text: text, marked: now.Time.Sub(recent[i].Time) < freshFor})
		}
	}
	var table []line
	if len(now.Services) > 0 {
		table = tableOf(now, now.Services, marksOf(fresh))
	}
	if room := max(height-len(head)-len(foot), 3); len(table) > room {
		left := len(table) - room + 1
		table = append(table[:room-1], line{text: fmt.Sprintf("... and %s that do not fit on the screen", plural(left, "line"))})
	}
	all := slices.Concat(head, table, foot)
	return all[:min(len(all), max(height, 1))]
}

// wrap breaks a text into lines at spaces.
func wrap(text string, width int) []string {
	var lines []string
	for _, word := range strings.Fields(text) {
		last := len(lines) - 1
		if last < 0 || len(lines[last])+1+len(word) > width {
			lines = append(lines, word)
		} else {
			lines[last] += " " + word
		}
	}
	return lines
}

// style cuts a line to the width of the terminal, so that it does not wrap.
func (p *livePrinter) style(l line, width int) string {
	text := []rune(l.String())
	if len(text) > width && width > 0 {
		text = append(text[:width-1], '>')
	}
	switch {
	case !p.styled || len(text) == 0:
		return string(text)
	case l.marked:
		return cli.Bold + string(text) + cli.Plain
	}
	return string(text)
}

func (p *livePrinter) write(s string) error {
	if _, err := io.WriteString(p.out, s); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
