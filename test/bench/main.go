// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command bench measures Apiary and its peers on the same source. README.md explains each
// figure.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// tooLong bounds the time of a contestant for a scenario. A contestant that loses an
// event would never end.
const tooLong = 10 * time.Minute

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if command, ok := commands[args[0]]; ok {
			return command(args[1:], stdin, stdout, stderr)
		}
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "`file` for the figures, as JSON lines (default: none)")
	runs := flags.Int("runs", 5, "how often each figure is measured")
	only := flags.String("figures", "", "measure only figures that match this `regexp`; other lines of the file are kept")
	names := flags.String("contestants", "", "measure only these contestants, separated by commas; other lines of the file are kept")
	report := flags.String("report", "", "`file` for a report in Markdown (default: none)")
	plot := flags.String("plot", "", "`file` for an SVG plot of the memory during the first sync from a server (default: none)")
	profiles := flags.String("profiles", "", "`directory` for CPU profiles of the processes that read from a server (default: none)")
	profile := flags.String("cpuprofile", "", "`file` for a CPU profile of this process")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	lines, err := measureAndReport(request{
		out: *out, report: *report, plot: *plot, runs: *runs, only: *only, names: *names,
		profile: *profile, profiles: *profiles, sizes: fullSizes,
	}, stdout, stderr)
	if err != nil {
		return err
	}
	if lack := belowBar(lines); len(lack) > 0 {
		return fmt.Errorf("figures below their bars:\n  %s", strings.Join(lack, "\n  "))
	}
	return nil
}

// request holds the flags.
type request struct {
	out         string
	report      string
	plot        string
	runs        int
	only, names string
	profile     string
	profiles    string // directory
	sizes       sizes
}

// measureAndReport measures, writes the files, and returns the lines of the figures.
func measureAndReport(r request, stdout, stderr io.Writer) ([]line, error) {
	if r.plot != "" {
		r.sizes.wireTraces = &wireTraces{}
	}
	if r.profiles != "" {
		var err error
		if r.sizes.wireProfiles, err = filepath.Abs(r.profiles); err != nil {
			return nil, err
		}
	}
	all, err := r.scenarios()
	if err != nil {
		return nil, err
	}
	if r.runs < 1 || len(all) == 0 {
		return nil, errors.New("no figure and contestant match -figures and -contestants")
	}
	if r.profile != "" {
		file, err := os.Create(r.profile)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return nil, err
		}
		defer pprof.StopCPUProfile()
	}
	begun := time.Now()
	var doing string
	watchdog := time.AfterFunc(tooLong, func() { panic("no end to: " + doing) })
	defer watchdog.Stop()
	v, err := measure(all, r.runs, func(figure string) {
		watchdog.Reset(tooLong)
		if doing != figure {
			fmt.Fprintf(stderr, "%6.1fs  %s\n", time.Since(begun).Seconds(), figure)
		}
		doing = figure
	})
	if err != nil {
		return nil, err
	}
	if err := v.writeTable(stdout, all); err != nil {
		return nil, err
	}
	if r.plot != "" {
		if err := os.WriteFile(r.plot, r.sizes.wireTraces.svg(), 0o644); err != nil {
			return nil, err
		}
	}
	if r.report != "" {
		if err := r.writeReport(v, all); err != nil {
			return nil, err
		}
	}
	if r.out == "" {
		return v.lines(all, "", nil), nil
	}
	lines := v.lines(all, commitOf(filepath.Dir(r.out)), versions())
	return lines, r.write(lines)
}

// write writes the file, in the order of the required figures. If everything was
// measured, the file has no other lines, and a missing required figure is an error.
func (r request) write(lines []line) error {
	kept := slices.Clone(lines)
	if r.only == "" && r.names == "" {
		if lack := missing(lines); len(lack) > 0 {
			return fmt.Errorf("required figures that were not measured:\n  %s", strings.Join(lack, "\n  "))
		}
	} else {
		old, err := readLines(r.out)
		if err != nil {
			return err
		}
		for _, l := range old {
			if !slices.ContainsFunc(lines, func(m line) bool { return m.Figure == l.Figure }) {
				kept = append(kept, l)
			}
		}
	}
	order := required()
	slices.SortStableFunc(kept, func(a, b line) int {
		return slices.Index(order, a.Figure) - slices.Index(order, b.Figure)
	})
	var text bytes.Buffer
	if err := writeLines(&text, kept); err != nil {
		return err
	}
	return os.WriteFile(r.out, text.Bytes(), 0o644)
}

// scenarios returns the scenarios with a requested figure, and the requested contestants.
func (r request) scenarios() ([]scenario, error) {
	pattern, err := regexp.Compile(r.only)
	if err != nil {
		return nil, err
	}
	names := strings.Split(r.names, ",")
	all := scenarios(r.sizes)
	for i := range all {
		all[i].who = slices.DeleteFunc(slices.Clone(all[i].who), func(name string) bool {
			return r.names != "" && !slices.Contains(names, name)
		})
	}
	return slices.DeleteFunc(all, func(s scenario) bool {
		return len(s.who) == 0 || !slices.ContainsFunc(s.figures, func(f figure) bool { return pattern.MatchString(f.name) })
	}), nil
}
