// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var tinySizes = sizes{
	small: 20, large: 40, changes: 100, hot: 5, turns: 20,
	mirrored: 150, mirroredMany: 600, mirrorRuns: 1, startSource: startLocalSource,
	stored: 400, storeSlice: time.Millisecond, storeTurns: 2, crowd: 5 * time.Millisecond, replaces: 2, storeRuns: 2,
	wire: 60, wireMany: 120, wireChanges: 20, wireRounds: 2, wireRuns: 1,
	statusOwners: 5, statusChanges: 2, statusRuns: 2, startStatus: startFakeStatusCluster,
}

// TestReport: every required figure is there, and the lines can be read. Nothing
// is said of the values: of so few pods they mean nothing.
func TestReport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bench.json")
	var table strings.Builder
	report, plot := filepath.Join(filepath.Dir(out), "report.md"), filepath.Join(filepath.Dir(out), "plots", "plot.svg")
	if err := os.Mkdir(filepath.Dir(plot), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := measureAndReport(request{out: out, report: report, plot: plot, runs: 2, sizes: tinySizes}, &table, io.Discard); err != nil {
		t.Fatal(err)
	}
	checkReport(t, report, plot)
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
		runs := 2
		if strings.HasPrefix(l.Figure, "mirror ") {
			runs = tinySizes.mirrorRuns
		} else if strings.HasPrefix(l.Figure, "wire ") {
			runs = tinySizes.wireRuns
		}
		if l.Runs != runs || l.Commit == "" || l.Versions["go"] == "" {
			t.Errorf("incomplete: %s", text)
		}
		figures = append(figures, l.Figure)
	}
	// The list is kept by hand, so that a figure cannot get lost by a change of
	// what is measured; here is what keeps it complete.
	if want := required(); !slices.Equal(slices.Sorted(slices.Values(figures)), slices.Sorted(slices.Values(want))) {
		t.Errorf("required_figures.txt lists\n  %s\nmeasured were\n  %s", strings.Join(want, "\n  "), strings.Join(figures, "\n  "))
	}
	for _, name := range slices.Concat(followerNames(), mirrorNames, wireNames, replaceNames, statusNames, []string{nameMap}) {
		if !strings.Contains(table.String(), name) {
			t.Errorf("the table does not show %s:\n%s", name, &table)
		}
	}
}

// checkReport: the report has a section for everything, a row for each figure, and the
// plot, which has a curve for each who reads from a server.
func checkReport(t *testing.T, report, plot string) {
	t.Helper()
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"(plots/plot.svg)", "-report \"report.md\"", "| ideal loop", "at most 16", "ideal loop ≥ 0.8", "## What to bear in mind"}
	for _, s := range sections {
		want = append(want, "## "+s.title+"\n")
	}
	for _, s := range scenarios(tinySizes) {
		for _, f := range s.figures {
			want = append(want, "\n| "+f.name+" |")
		}
	}
	for _, part := range want {
		if n := strings.Count(string(text), part); n == 0 {
			t.Errorf("the report does not have %q", part)
		}
	}
	curves, err := os.ReadFile(plot)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{nameSmall}, wireNames...) {
		if !strings.Contains(string(curves), ">"+name+"</text>") {
			t.Errorf("the plot does not have %s", name)
		}
	}
}

func TestMissing(t *testing.T) {
	lines := []line{{Figure: required()[0]}}
	if got, want := missing(lines), required()[1:]; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
}

// TestKept: what is measured alone replaces its lines in the file and leaves the
// others, in the order of the required figures.
func TestKept(t *testing.T) {
	out := filepath.Join(t.TempDir(), "bench.json")
	old := []line{
		{Figure: "version storage: heap bytes per key, 500k keys vs map", Ours: -1},
		{Figure: "events/s, 1 subscriber vs cilium", Ours: -1},
	}
	var text bytes.Buffer
	if err := writeLines(&text, old); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, text.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := measureAndReport(request{out: out, runs: 1, only: "^version storage", sizes: tinySizes}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	lines, err := readLines(out)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s: measured: %t", l.Figure, l.Ours != -1))
	}
	want := []string{
		"events/s, 1 subscriber vs cilium: measured: false",
		"version storage: heap bytes per key, 500k keys vs map: measured: true",
		"version storage: heap bytes per key, 500k keys vs goal: measured: true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the lines are %q, want %q", got, want)
	}
}

// TestShort: what misses its goal is said to.
func TestShort(t *testing.T) {
	s := scenario{who: []string{nameOurs, nameMap}, figures: []figure{
		{name: "met", lower: true, goal: 10},
		{name: "missed", lower: true, goal: 10},
		{name: "free", lower: true},
		{name: "beside", lower: true, bar: 0.5},
		{name: "none", lower: true, none: true},
		{name: "some", lower: true, none: true},
		{name: "of another", lower: true, bar: 2, bars: map[string]float64{nameMap: 0}},
		{name: "of this", lower: true, bars: map[string]float64{nameMap: 2, nameCilium: 1}},
	}}
	v := values{}
	for _, f := range s.figures {
		v.add(f.name, nameMap, 100)
	}
	v.add("met", nameOurs, 10)
	v.add("missed", nameOurs, 11)
	v.add("free", nameOurs, 1000)
	v.add("beside", nameOurs, 201)
	v.add("none", nameOurs, 0)
	v.add("some", nameOurs, 0.1)
	v.add("of another", nameOurs, 1000)
	v.add("of this", nameOurs, 51)
	lines := v.lines([]scenario{s}, "", nil)
	var got []string
	for _, text := range belowBar(lines) {
		name, _, _ := strings.Cut(text, ": ")
		got = append(got, name)
	}
	if want := []string{"missed vs goal", "beside vs map", "some vs goal", "of this vs map"}; !slices.Equal(got, want) {
		t.Errorf("short are %q of %v, want %q", got, lines, want)
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
		{0, 0, true, 1},
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
