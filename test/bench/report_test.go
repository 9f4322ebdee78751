// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var tinySizes = sizes{small: 20, large: 40, changes: 100, hot: 5, turns: 20}

// TestReport: every required figure is there, and the lines can be read. Nothing
// is said of the values: of so few pods they mean nothing.
func TestReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bench.json")
	var table strings.Builder
	if _, err := measureAndReport(request{out: out, runs: 2, sizes: tinySizes}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var figures []string
	for text := range bytes.Lines(data) {
		var l line
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if l.Runs != 2 || l.Commit == "" || l.Versions["go"] == "" {
			t.Errorf("incomplete: %s", text)
		}
		figures = append(figures, l.Figure)
	}
	// The list is kept by hand, so that a figure cannot get lost by a change of
	// what is measured; here is what keeps it complete.
	if want := required(); !slices.Equal(slices.Sorted(slices.Values(figures)), slices.Sorted(slices.Values(want))) {
		t.Errorf("required_figures.txt lists\n  %s\nmeasured were\n  %s", strings.Join(want, "\n  "), strings.Join(figures, "\n  "))
	}
	for _, name := range followerNames() {
		if !strings.Contains(table.String(), name) {
			t.Errorf("the table does not show %s:\n%s", name, &table)
		}
	}
}

func TestMissing(t *testing.T) {
	lines := []line{{Figure: required()[0]}}
	if got, want := missing(lines), required()[1:]; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
}

// TestShort: what misses its goal is said to.
func TestShort(t *testing.T) {
	s := scenario{who: []string{nameOurs, nameClientGo}, figures: []figure{
		{name: "met", lower: true, goal: 10},
		{name: "missed", lower: true, goal: 10},
		{name: "free", lower: true},
		{name: "beside", lower: true, bar: 0.5},
	}}
	v := values{}
	for _, f := range s.figures {
		v.add(f.name, nameClientGo, 100)
	}
	v.add("met", nameOurs, 10)
	v.add("missed", nameOurs, 11)
	v.add("free", nameOurs, 1000)
	v.add("beside", nameOurs, 201)
	lines := v.lines([]scenario{s}, "", nil)
	if got := short(lines); len(got) != 2 || !strings.HasPrefix(got[0], "missed vs goal: ") || !strings.HasPrefix(got[1], "beside vs client-go: ") {
		t.Errorf("short are %q of %v", got, lines)
	}
}

func TestRatio(t *testing.T) {
	for _, test := range []struct {
		ours, other float64
		lower       bool
		want        float64 // 0: none
	}{
		{200, 100, false, 2},
		{200, 100, true, 0.5},
		{50, 100, true, 2},
		{0, 100, true, 0},
		{100, -3, false, 0},
	} {
		var got float64
		if r := ratio(test.ours, test.other, test.lower); r != nil {
			got = *r
		}
		if got != test.want {
			t.Errorf("ratio of %v to %v, lower is better: %t: %v, want %v", test.ours, test.other, test.lower, got, test.want)
		}
	}
}

func TestMedianAndRound(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{9, 1, 5, 7}); got != 6 {
		t.Errorf("median of four: %v", got)
	}
	for value, want := range map[float64]float64{123456: 123456, 12.3456: 12.35, 0.00123456: 0.001235, -12.3456: -12.35, 0: 0} {
		if got := round(value); got != want {
			t.Errorf("round(%v) is %v, want %v", value, got, want)
		}
	}
}
