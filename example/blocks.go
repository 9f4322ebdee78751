// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"strings"
)

// maxBlockChanges is how many changes a block lists.
const maxBlockChanges = 20

// blockPrinter appends a block of text after changes: first one with all services, then
// those with the changed services. It is for files, pipes and logs.
type blockPrinter struct {
	out      io.Writer
	pending  []change
	status   string // statusKey of the last block
	degraded bool
	started  bool
	complete bool // all services and pods were shown once
}

func newBlockPrinter(out io.Writer) *blockPrinter { return &blockPrinter{out: out} }

func (p *blockPrinter) changed(changes []change) error {
	p.pending = append(p.pending, changes...)
	return nil
}

func (p *blockPrinter) draw(now picture) error {
	status := statusLines(now)
	statusChanged := statusKey(now) != p.status
	if p.started && !statusChanged && len(changeLines(p.pending)) == 0 && p.complete {
		p.pending = nil
		return nil
	}
	var b strings.Builder
	if !p.started {
		fmt.Fprintln(&b, "#", now.Title)
	}
	fmt.Fprintf(&b, "\n%s  %s\n", now.Time.Format("15:04:05"), summary(now))
	for _, text := range status {
		fmt.Fprintln(&b, text)
	}
	if statusChanged && len(status) == 0 && p.degraded {
		fmt.Fprintln(&b, "healthy again")
	}
	p.body(&b, now)
	p.started, p.status, p.pending = true, statusKey(now), nil
	p.degraded = len(now.Problems) > 0
	if _, err := io.WriteString(p.out, b.String()); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

func (p *blockPrinter) body(b *strings.Builder, now picture) {
	services, m := now.Services, marks{}
	if p.complete {
		m = marksOf(p.pending)
		services = onlyChanged(services, m)
	}
	if len(services) > 0 {
		for _, l := range tableOf(now, services, m) {
			fmt.Fprintln(b, l)
		}
	}
	if p.complete {
		lines := changeLines(p.pending)
		more := len(lines) - maxBlockChanges
		for _, text := range lines[max(0, more):] {
			fmt.Fprintln(b, "    "+text)
		}
		if more > 0 {
			fmt.Fprintf(b, "    and %s before these\n", plural(more, "change"))
		}
	}
	p.complete = p.complete || now.ServicesSynced && now.PodsSynced
}

func (p *blockPrinter) close(last picture) error {
	if len(p.pending) == 0 {
		return nil
	}
	return p.draw(last)
}
