// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sections are the sections of the report, in order, with the prefixes of their figures'
// names.
var sections = []struct {
	title string
	begin []string
}{
	{"Reading from a server", []string{"wire "}},
	{"Following a source in memory", []string{""}},
	{"Mirrors", []string{"mirror ", "version storage: "}},
	{"The store", []string{"store: "}},
	{"Statuses", []string{"status "}},
}

// sectionOf returns the section with the longest prefix of a figure's name.
func sectionOf(figure string) (title string) {
	longest := -1
	for _, s := range sections {
		for _, begin := range s.begin {
			if strings.HasPrefix(figure, begin) && len(begin) > longest {
				longest, title = len(begin), s.title
			}
		}
	}
	return title
}

// caveats is the last section of the report.
const caveats = `## What to bear in mind

- Each contestant shares the processors with the server, and with nothing else if the machine was idle. CPU is the CPU time of the contestant's process,
  including garbage collection, without the server. Wall-clock times also depend on the server.
- There is no TLS, compression, request limit or latency. They would cost all contestants the same, and make every ratio of CPU smaller.
- The pods are synthetic: 500 templates, 2.9 KB each, with unique names, UIDs, addresses, container ids and times. Interning depends on how much objects
  have in common. Pods with nothing in common share nothing.
- All contestants have the default configuration. apiary and client-go (1.35 and later) stream initial events; controller-runtime and cilium behave like the
  client-go that they are built with. The ideal loop is not an alternative: it has no error handling, no retries, and waits for slow subscribers.
- *Small type* is apiary with a transform to labels, nodeName, podIP and phase. The other contestants keep whole pods.
- The other contestants relist like client-go, which calls handlers for every object.
- Differences of a few microseconds, bytes or percent in one run are noise. ± shows half the distance between the best and the worst run.
`

// writeReport writes the results as Markdown, with a link to the plot if there is one.
func (r request) writeReport(v values, all []scenario) error {
	var out bytes.Buffer
	found := versions()
	fmt.Fprintf(&out, "# Benchmarks\n\nWritten by `test/bench`, whose [README](test/bench/README.md) explains each figure. Do not edit.\n\n")
	fmt.Fprintf(&out, "    go build -C test/bench -o bench . && test/bench/bench %s\n\n", r.command())
	fmt.Fprintf(&out, "Medians of up to %d runs. With a ratio above 1 apiary is better. A bar is the minimum of a ratio.\n\n", r.runs)
	fmt.Fprintf(&out, "| | |\n|---|---|\n| commit | %s |\n| processor | %s |\n", commitOf(filepath.Dir(r.report)), processor())
	for _, name := range slices.Sorted(maps.Keys(found)) {
		fmt.Fprintf(&out, "| %s | %s |\n", name, found[name])
	}
	for _, section := range sections {
		of := slices.DeleteFunc(slices.Clone(all), func(s scenario) bool { return sectionOf(s.figures[0].name) != section.title })
		if len(of) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n## %s\n", section.title)
		for len(of) > 0 {
			n := 1
			for n < len(of) && slices.Equal(of[n].who, of[0].who) {
				n++
			}
			v.writeMarkdown(&out, of[:n])
			of = of[n:]
		}
		if section.title == sections[0].title && r.plot != "" {
			fmt.Fprintf(&out, "\n![Resident memory of all contestants during the first sync](%s)\n", r.beside(r.plot))
		}
	}
	fmt.Fprintf(&out, "\n%s", caveats)
	return os.WriteFile(r.report, out.Bytes(), 0o644)
}

// beside returns the path of a file relative to the directory of the report.
func (r request) beside(file string) string {
	from, err1 := filepath.Abs(filepath.Dir(r.report))
	to, err2 := filepath.Abs(file)
	relative, err3 := filepath.Rel(from, to)
	if file == "" || errors.Join(err1, err2, err3) != nil {
		return file
	}
	return filepath.ToSlash(relative)
}

// command returns the arguments of the program, with paths relative to the report.
func (r request) command() string {
	args := []string{fmt.Sprintf("-runs %d", r.runs)}
	for _, flag := range []struct{ name, value string }{
		{"out", r.beside(r.out)}, {"report", r.beside(r.report)}, {"plot", r.beside(r.plot)}, {"figures", r.only}, {"contestants", r.names},
	} {
		if flag.value != "" {
			args = append(args, fmt.Sprintf("-%s %q", flag.name, flag.value))
		}
	}
	return strings.Join(args, " ")
}

// writeMarkdown writes one table for scenarios with the same contestants.
func (v values) writeMarkdown(out *bytes.Buffer, all []scenario) {
	fmt.Fprintf(out, "\n| figure | %s | bars |\n|---|%s---|\n", strings.Join(all[0].who, " | "), strings.Repeat("--:|", len(all[0].who)))
	lines := v.lines(all, "", nil)
	for _, s := range all {
		for _, f := range s.figures {
			fmt.Fprintf(out, "| %s |", f.name)
			for _, name := range s.who {
				got := v[f.name][name]
				fmt.Fprintf(out, " %s %s", number(median(got)), spread(got))
				if ratio := ratioOf(v[f.name][nameOurs], got, f.lower); name != nameOurs && ratio != nil {
					fmt.Fprintf(out, " (%.2f)", *ratio)
				}
				fmt.Fprint(out, " |")
			}
			fmt.Fprintf(out, " %s |\n", strings.Join(barsOf(f, lines), "; "))
		}
	}
}

// barsOf returns the bars of a figure, and marks those that it missed.
func barsOf(f figure, lines []line) (bars []string) {
	for _, l := range lines {
		peer, ok := strings.CutPrefix(l.Figure, f.name+" vs ")
		if !ok || l.Bar == nil {
			continue
		}
		text := fmt.Sprintf("%s ≥ %.3g", peer, *l.Bar)
		if peer == "goal" {
			text = "at most " + number(f.goal)
		}
		if len(belowBar([]line{l})) > 0 {
			text = "**missed: " + text + "**"
		}
		bars = append(bars, text)
	}
	return bars
}

// processor returns the model of the processors, or "unknown".
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
