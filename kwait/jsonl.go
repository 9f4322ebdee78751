// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/apiary-go/apiary/status"
)

// Results of a wait, in the last line of JSON.
const (
	resultMet         = "met"
	resultFailed      = "failed"
	resultTimeout     = "timeout"
	resultInterrupted = "interrupted"
	resultError       = "error"
)

// objectLine is a line of JSON for a change of an object. README.md has its fields.
type objectLine struct {
	Time      time.Time     `json:"time"`
	Group     string        `json:"group,omitempty"`
	Kind      string        `json:"kind"`
	Namespace string        `json:"namespace,omitempty"`
	Name      string        `json:"name"`
	Status    status.Status `json:"status"`
	Reason    status.Reason `json:"reason,omitempty"`
	Message   string        `json:"message,omitempty"`
	Stale     bool          `json:"stale,omitempty"`
	Met       bool          `json:"met"`
}

// resultLine is the last line of JSON. README.md has its fields.
type resultLine struct {
	Time     time.Time     `json:"time"`
	Result   string        `json:"result"`
	ExitCode int           `json:"exitCode"`
	Message  string        `json:"message"`
	Objects  int           `json:"objects"`
	Met      int           `json:"met"`
	Failed   int           `json:"failed"`
	Seconds  float64       `json:"seconds"`
	Missing  []missingLine `json:"missing,omitempty"`
	Problem  string        `json:"problem,omitempty"`
}

// missingLine is an object that does not meet the goal.
type missingLine struct {
	objectLine
	why
}

// jsonPrinter writes a line of JSON for each change, and one for the result.
type jsonPrinter struct {
	out     io.Writer
	pending []numberedLine
}

type numberedLine struct {
	number int // of the row
	objectLine
}

func newJSONPrinter(out io.Writer) *jsonPrinter { return &jsonPrinter{out: out} }

func (p *jsonPrinter) ticks() bool { return false }

func (p *jsonPrinter) changed(_ *board, row *boardRow) {
	p.pending = append(p.pending, numberedLine{row.number, row.line()})
}

// draw prints the pending lines in the order of their rows.
func (p *jsonPrinter) draw(*board) error {
	lines := p.pending
	p.pending = nil
	slices.SortStableFunc(lines, func(a, b numberedLine) int { return a.number - b.number })
	for _, l := range lines {
		if err := p.write(l.objectLine); err != nil {
			return err
		}
	}
	return nil
}

func (p *jsonPrinter) close(b *board, end ending) error {
	if err := p.draw(b); err != nil {
		return err
	}
	result := resultLine{
		Time: time.Now(), Result: end.result, ExitCode: end.code, Message: end.text,
		Objects: len(b.rows), Met: b.met, Failed: b.failed, Seconds: time.Since(b.begin).Seconds(), Problem: end.problem,
	}
	for _, row := range b.missing() {
		result.Missing = append(result.Missing, missingLine{row.line(), row.why})
	}
	return p.write(result)
}

func (p *jsonPrinter) write(line any) error {
	encoder := json.NewEncoder(p.out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return fmt.Errorf("write a line of JSON: %w", err)
	}
	return nil
}

func (r *boardRow) line() objectLine {
	l := objectLine{
		Time: time.Now(), Group: r.id.GroupKind.Group, Kind: r.id.GroupKind.Kind, Namespace: r.id.Namespace, Name: r.id.Name,
		Status: r.status.Status, Reason: r.status.Reason, Message: r.message(), Stale: !r.status.Stale.IsZero(), Met: r.met,
	}
	if r.global {
		l.Namespace = ""
	}
	return l
}
