// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// line is a line of text. It is marked if it shows a recent change.
type line struct {
	text   string
	marked bool
}

// String puts a mark before a marked line.
func (l line) String() string {
	mark := "  "
	if l.marked {
		mark = "* "
	}
	return strings.TrimRight(mark+l.text, " ")
}

// marks holds the services and pods with recent changes.
type marks map[string]bool

func marksOf(changes []change) marks {
	m := marks{}
	for _, c := range changes {
		if c.Service != "" {
			m[c.subject()] = true
			m[c.subject()+"/"+c.Pod] = true
		}
	}
	return m
}

// service reports whether the service or one of its pods changed. row reports whether the
// line of a pod changed, or with an empty pod that of the service.
func (m marks) service(s serviceRow) bool         { return m[s.Key.String()] }
func (m marks) row(s serviceRow, pod string) bool { return m[s.Key.String()+"/"+pod] }

// tableOf renders services and their pods, with a line for each pod.
func tableOf(p picture, services []serviceRow, m marks) []line {
	rows := [][]string{{"SERVICE", "READY", "POD", "STATUS"}}
	marked := []bool{false}
	for _, s := range services {
		name, ready := s.Key.String(), fmt.Sprintf("%d/%d", s.Ready, len(s.Pods))
		switch {
		case s.Selector == "":
			ready = "-"
		case !p.PodsSynced:
			ready = "?"
		}
		if len(s.Pods) == 0 {
			note := "none"
			switch {
			case s.Selector == "":
				note = "(selects nothing)"
			case !p.PodsSynced:
				note = "(not known yet)"
			}
			rows = append(rows, []string{name, ready, note, ""})
			marked = append(marked, m.service(s))
		}
		for i, pod := range s.Pods {
			if i > 0 {
				name, ready = "", ""
			}
			rows = append(rows, []string{name, ready, pod.Name, pod.state.String()})
			marked = append(marked, m.row(s, pod.Name) || i == 0 && m.row(s, ""))
		}
	}
	lines := make([]line, len(rows))
	for i, text := range align(rows) {
		lines[i] = line{text: text, marked: marked[i]}
	}
	return lines
}

// align pads the cells of a table into columns.
func align(rows [][]string) []string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	out := make([]string, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for j, text := range row {
			b.WriteString(text)
			b.WriteString(strings.Repeat(" ", widths[j]-utf8.RuneCountInString(text)+3))
		}
		out[i] = strings.TrimRight(b.String(), " ")
	}
	return out
}

// changeLines renders changes, each with its time.
func changeLines(changes []change) []string {
	var rows [][]string
	for _, c := range changes {
		if c.Service != "" {
			rows = append(rows, []string{c.Time.Format("15:04:05"), c.subject(), c.String()})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return align(rows)
}

// statusLines returns the problems, or what the table waits for, or nothing.
func statusLines(p picture) []string {
	var lines []string
	for _, r := range p.Problems {
		lines = append(lines, "! "+r.String())
	}
	if len(lines) > 0 {
		return lines
	}
	switch {
	case !p.ServicesSynced && !p.PodsSynced:
		return []string{"waiting for services and pods ..."}
	case !p.ServicesSynced:
		return []string{"waiting for services ..."}
	case !p.PodsSynced:
		return []string{"waiting for pods ..."}
	}
	return nil
}

// statusKey identifies the text of statusLines without details.
func statusKey(p picture) string {
	key := fmt.Sprint(p.ServicesSynced, p.PodsSynced)
	for _, r := range p.Problems {
		key += "\n" + r.Scope + ": " + r.Reason
	}
	return key
}

// summary counts services and pods.
func summary(p picture) string {
	services, pods := plural(len(p.Services), "service"), plural(p.PodCount, "pod")
	if !p.ServicesSynced {
		services = "services not known"
	}
	if !p.PodsSynced {
		pods = "pods not known"
	}
	return services + ", " + pods
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// onlyChanged returns the services with changes.
func onlyChanged(services []serviceRow, m marks) []serviceRow {
	return slices.DeleteFunc(slices.Clone(services), func(s serviceRow) bool { return !m.service(s) })
}
