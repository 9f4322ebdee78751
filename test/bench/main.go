// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command bench measures Apiary beside its peers, all on the same in-process
// source. README.md says what each figure means.
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
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// tooLong is how long a scenario may take in all its runs. A contestant that
// loses an event is waited for in vain.
const tooLong = 10 * time.Minute

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	out := flags.String("out", "", "`file` for the figures, as JSON lines; none if empty")
	runs := flags.Int("runs", 5, "how often each figure is measured")
	only := flags.String("figures", "", "measure only what matches this `regexp`; nothing is required then")
	names := flags.String("contestants", "", "measure only these, separated by commas")
	profile := flags.String("cpuprofile", "", "`file` for a CPU profile")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	return measureAndReport(request{
		out: *out, runs: *runs, only: *only, names: *names, profile: *profile, sizes: fullSizes,
	}, stdout, stderr)
}

// request is what was asked for.
type request struct {
	out         string
	runs        int
	only, names string
	profile     string
	sizes       sizes
}

func measureAndReport(r request, stdout, stderr io.Writer) error {
	all, err := r.scenarios()
	if err != nil {
		return err
	}
	who := r.contestants()
	if r.runs < 1 || len(all) == 0 || len(who) == 0 {
		return fmt.Errorf("nothing to measure")
	}
	if r.profile != "" {
		file, err := os.Create(r.profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	begun := time.Now()
	var doing string
	watchdog := time.AfterFunc(tooLong, func() { panic("no end to: " + doing) })
	defer watchdog.Stop()
	v := measure(all, who, r.runs, func(name string) {
		watchdog.Reset(tooLong)
		doing = name
		fmt.Fprintf(stderr, "%6.1fs  %s\n", time.Since(begun).Seconds(), name)
	})
	if err := v.writeTable(stdout, all, who); err != nil {
		return err
	}
	var lines []line
	if r.out == "" {
		lines = v.lines(all, "", nil)
	} else {
		lines = v.lines(all, commitOf(filepath.Dir(r.out)), versions())
	}
	if r.only == "" && r.names == "" {
		if lack := missing(lines); len(lack) > 0 {
			return fmt.Errorf("required but not measured:\n  %s", strings.Join(lack, "\n  "))
		}
	}
	if r.out == "" {
		return nil
	}
	var text bytes.Buffer
	if err := writeLines(&text, lines); err != nil {
		return err
	}
	return os.WriteFile(r.out, text.Bytes(), 0o644)
}

func (r request) scenarios() ([]scenario, error) {
	pattern, err := regexp.Compile(r.only)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(scenarios(r.sizes), func(s scenario) bool {
		return !slices.ContainsFunc(s.figures, func(f figure) bool { return pattern.MatchString(f.name) })
	}), nil
}

func (r request) contestants() []contestant {
	names := strings.Split(r.names, ",")
	return slices.DeleteFunc(slices.Clone(contestants), func(c contestant) bool {
		return r.names != "" && !slices.Contains(names, c.name)
	})
}
