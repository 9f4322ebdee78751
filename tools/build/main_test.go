// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"strings"
	"testing"
	"time"
)

// newClock returns a clock that shows d after its first reading.
func newClock(d time.Duration) func() time.Time {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return func() time.Time {
		t := now
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(d)
		return t
	}
}

func TestReport(t *testing.T) {
	var out, rest strings.Builder
	r := newReport(&out, "a server", false, newClock(72*time.Second))
	r.print()
	if out.Len() > 0 {
		t.Errorf("printed before a package: %q", &out)
	}
	const log = "fmt\nk8s.io/api/core/v1\n# example.com/a\na/b.go:3:5: undefined: x\nfmt\n"
	if err := r.read(strings.NewReader(log), &rest); err != nil {
		t.Fatal(err)
	}
	if want := "# example.com/a\na/b.go:3:5: undefined: x\n"; rest.String() != want {
		t.Errorf("passed on %q, not %q", &rest, want)
	}
	r.print()
	r.count([]string{"fmt", "io", "os"})
	r.print()
	r.end(true)
	want := `== building a server: 2 packages, 1 min 12 s
== building a server: 2 of 4 packages, 1 min 12 s
== built a server in 1 min 12 s
`
	if out.String() != want {
		t.Errorf("printed\n%snot\n%s", &out, want)
	}
}

func TestReportOnTerminal(t *testing.T) {
	var out strings.Builder
	r := newReport(&out, "a server", true, newClock(5*time.Second))
	if err := r.read(strings.NewReader("fmt\n"), &out); err != nil {
		t.Fatal(err)
	}
	r.print()
	r.end(true)
	want := "\r\x1b[K== building a server: 1 packages, 5 s\r\x1b[K== built a server in 5 s\n"
	if out.String() != want {
		t.Errorf("printed %q, not %q", &out, want)
	}
}
