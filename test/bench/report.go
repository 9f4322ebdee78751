// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
)

// line is a line of bench.json: one figure beside one peer.
type line struct {
	Figure string  `json:"figure"`
	Ours   float64 `json:"ours"`
	Other  float64 `json:"other"`

	// Ratio is how many times better ours is. Above 1 ours is better, below 1 the peer. It
	// is 1 if both values are zero, and otherwise null if one of them is not above zero.
	Ratio *float64 `json:"ratio"`

	// Bar is the minimum of the ratio, or null if there is none.
	Bar *float64 `json:"bar"`

	Commit   string            `json:"commit"`
	Versions map[string]string `json:"versions"`
	Runs     int               `json:"runs"`
}

//go:embed required_figures.txt
var requiredText string

// required returns the figures that bench.json must have.
func required() []string {
	var names []string
	for name := range strings.Lines(requiredText) {
		if name = strings.TrimSpace(name); name != "" && !strings.HasPrefix(name, "#") {
			names = append(names, name)
		}
	}
	return names
}

// missing returns the required figures that are not in lines.
func missing(lines []line) []string {
	names := required()
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(lines, func(l line) bool { return l.Figure == name })
	})
}

// lines makes the lines of all figures that were measured for ours and a peer, and of the
// figures with a goal.
func (v values) lines(all []scenario, commit string, versions map[string]string) []line {
	var lines []line
	for _, s := range all {
		for _, f := range s.figures {
			ours := v[f.name][nameOurs]
			if len(ours) == 0 {
				continue
			}
			add := func(peer string, other, bar float64) {
				l := line{
					Figure: f.name + " vs " + peer,
					Ours:   round(median(ours)), Other: round(other),
					Ratio:  ratio(median(ours), other, f.lower),
					Commit: commit, Versions: versions, Runs: len(ours),
				}
				if bar > 0 {
					l.Bar = &bar
				}
				lines = append(lines, l)
			}
			for _, peer := range s.who {
				others := v[f.name][peer]
				if peer == nameOurs || len(others) == 0 || peer == nameIdeal && !f.vsIdeal {
					continue
				}
				bar, own := f.bars[peer]
				if !own {
					bar = f.bar
				}
				if peer == nameNoStore {
					bar = 0
				}
				add(peer, median(others), bar)
			}
			if f.goal > 0 || f.none {
				add("goal", f.goal, 1)
			}
		}
	}
	return lines
}

// belowBar returns the figures that do not reach their bar.
func belowBar(lines []line) []string {
	var names []string
	for _, l := range lines {
		if l.Bar != nil && (l.Ratio == nil || *l.Ratio < *l.Bar) {
			names = append(names, fmt.Sprintf("%s: %v beside %v", l.Figure, l.Ours, l.Other))
		}
	}
	return names
}

func ratio(ours, other float64, lower bool) *float64 {
	var r float64
	switch {
	case ours == 0 && other == 0:
		r = 1
	case ours <= 0 || other <= 0:
		return nil
	case lower:
		r = round(other / ours)
	default:
		r = round(ours / other)
	}
	return &r
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread returns half the distance between the best and the worst run, in percent of the
// median.
func spread(values []float64) string {
	m := median(values)
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("±%.0f%%", math.Abs(100*(slices.Max(values)-slices.Min(values))/2/m))
}

// round rounds to four digits, which is more than the measurement has.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	if scale < 1 {
		return math.Round(v)
	}
	return math.Round(v*scale) / scale
}

// writeTable prints the results. Consecutive scenarios with the same contestants share a
// table.
func (v values) writeTable(w io.Writer, all []scenario) error {
	for len(all) > 0 {
		n := 1
		for n < len(all) && slices.Equal(all[n].who, all[0].who) {
			n++
		}
		if err := v.writeRows(w, all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	_, err := fmt.Fprintln(w, "Medians of the runs; ± is half of what lies between the best and the worst. A ratio above 1: apiary is better.")
	return err
}

func (v values) writeRows(w io.Writer, all []scenario) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	header := "figure\t"
	for _, name := range all[0].who {
		header += name + "\t\t"
		if name != nameOurs {
			header += "ratio\t"
		}
	}
	fmt.Fprintln(table, header)
	for _, s := range all {
		for _, f := range s.figures {
			row := f.name + "\t"
			if f.goal > 0 || f.none {
				row = fmt.Sprintf("%s (goal: %s)\t", f.name, number(f.goal))
			}
			ours := v[f.name][nameOurs]
			for _, name := range s.who {
				got := v[f.name][name]
				row += fmt.Sprintf("%s\t%s\t", number(median(got)), spread(got))
				if name == nameOurs {
					continue
				}
				if r := ratioOf(ours, got, f.lower); r != nil {
					row += fmt.Sprintf("%.2f", *r)
				}
				row += "\t"
			}
			fmt.Fprintln(table, row)
		}
	}
	fmt.Fprintln(table)
	return table.Flush()
}

func ratioOf(ours, others []float64, lower bool) *float64 {
	if len(ours) == 0 || len(others) == 0 {
		return nil
	}
	return ratio(median(ours), median(others), lower)
}

func number(v float64) string {
	if math.Abs(v) >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

func writeLines(w io.Writer, lines []line) error {
	enc := json.NewEncoder(w)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// readLines reads the output of writeLines. A missing file has no lines.
func readLines(name string) ([]line, error) {
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var lines []line
	for dec := json.NewDecoder(bytes.NewReader(text)); ; {
		var l line
		if err := dec.Decode(&l); err == io.EOF {
			return lines, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		lines = append(lines, l)
	}
}

// versions returns the versions with which the program was built.
func versions() map[string]string {
	found := map[string]string{"go": runtime.Version(), "arch": runtime.GOARCH, "cpus": fmt.Sprint(runtime.GOMAXPROCS(0))}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return found
	}
	for _, dep := range info.Deps {
		switch dep.Path {
		case "github.com/cilium/cilium", "github.com/cilium/hive", "github.com/cilium/statedb",
			"github.com/fluxcd/cli-utils", "sigs.k8s.io/controller-runtime", "k8s.io/client-go", "k8s.io/apimachinery":
			version := dep.Version
			if dep.Replace != nil && dep.Replace.Version != "" {
				version = dep.Replace.Version
			}
			found[dep.Path] = version
		}
	}
	return found
}

// commitOf returns the commit of dir, with "-dirty" if any file except the figures
// differs from it.
func commitOf(dir string) string {
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
		return string(bytes.TrimSpace(out)), err
	}
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return "unknown"
	}
	changed, err := git("status", "--porcelain", "--", ":/",
		":(top,exclude)test/bench/bench.json", ":(top,exclude)docs/benchmarks.md", ":(top,exclude,glob)*.svg")
	if err != nil || changed != "" {
		commit += "-dirty"
	}
	return commit
}
