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

// sections are the parts of the report, in order, with what the names of their figures
// begin with.
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

// sectionOf is the one of which a figure begins with most.
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

// caveats are what is to be known about the figures.
const caveats = `## What to bear in mind

- Whoever is measured shares the processors with the server, and with nothing else if the machine was left alone. CPU is that of the contestant's
  process alone, garbage collection included; the server's does not count. Times of the clock do not depend on the contestant alone.
- There is no TLS, no compression, no limit of requests, no latency: all of them would add the same to everybody, and make every ratio of CPU smaller.
- The pods are made up: 500 templates, 2.9 KB each, unique names, UIDs, addresses, container ids and times. What is shared between objects depends on how
  much they have in common; pods with nothing in common share nothing.
- Everybody is in the default configuration: apiary and client-go (1.35 and later) stream initial events, controller-runtime and cilium do as the client-go
  they are built with does. The ideal loop is no alternative: it has no errors, no retries, no second subscriber that is slow.
- *Small type* is apiary with a transform to labels, nodeName, podIP and phase beside the others as they are, which keep whole pods.
- A relist of the others is one of client-go, which tells handlers of every object that it had.
- What one run says about a few microseconds, a few bytes or a few percent is noise; ± shows how far apart the runs were.
`

// writeReport writes what was measured as Markdown. The plot, if there is one, is a file.
func (r request) writeReport(v values, all []scenario) error {
	var out bytes.Buffer
	found := versions()
	fmt.Fprintf(&out, "# Benchmarks\n\nWritten by `test/bench`, whose [README](test/bench/README.md) says what each figure means. Do not edit.\n\n")
	fmt.Fprintf(&out, "    go build -C test/bench -o bench . && test/bench/bench %s\n\n", r.command())
	fmt.Fprintf(&out, "Medians of up to %d runs. A ratio above 1: apiary is better. A bar is the ratio that was promised.\n\n", r.runs)
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

// beside is a file as seen from where the report is.
func (r request) beside(file string) string {
	from, err1 := filepath.Abs(filepath.Dir(r.report))
	to, err2 := filepath.Abs(file)
	relative, err3 := filepath.Rel(from, to)
	if file == "" || errors.Join(err1, err2, err3) != nil {
		return file
	}
	return filepath.ToSlash(relative)
}

// command is how the program can be called where the report is.
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

// writeMarkdown makes one table of scenarios that have the same contestants.
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

// barsOf says what was promised of a figure, and whether it was kept.
func barsOf(f figure, lines []line) (said []string) {
	for _, l := range lines {
		peer, ok := strings.CutPrefix(l.Figure, f.name+" vs ")
		if !ok || l.Bar == nil {
			continue
		}
		text := fmt.Sprintf("%s ≥ %.3g", peer, *l.Bar)
		if peer == "goal" {
			text = "at most " + number(f.goal)
		}
		if len(short([]line{l})) > 0 {
			text = "**missed: " + text + "**"
		}
		said = append(said, text)
	}
	return said
}

// processor is what the system says of the processors, if it does.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
