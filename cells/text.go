// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// patience is how long a first list can take before it counts as not in sync.
const patience = 5 * time.Second

// isInSync returns false for what a person must look at: it fails, its first list takes
// long, or it is disabled.
func isInSync(f Followed, now time.Time) bool {
	switch f.Level {
	case LevelStarting:
		return now.Sub(f.Since) <= patience
	case LevelUnused, LevelOK:
		return true
	}
	return false
}

// split returns what is not in sync, and the rest, in the order of all.
func split(all []Followed, now time.Time) (not, rest []Followed) {
	for _, f := range all {
		if isInSync(f, now) {
			rest = append(rest, f)
		} else {
			not = append(not, f)
		}
	}
	return not, rest
}

// headline says in one line how many are in sync.
func headline(all []Followed, now time.Time) string {
	not, _ := split(all, now)
	count := map[Level]int{}
	for _, f := range all {
		count[f.Level]++
	}
	text := fmt.Sprintf("All in sync: %d", count[LevelOK])
	switch {
	case len(all) == 0:
		return "Nothing is followed"
	case slices.ContainsFunc(not, func(f Followed) bool { return !f.Synced || f.Reflector.Err != nil }):
		return fmt.Sprintf("NOT IN SYNC: %d of %d", len(not), len(all))
	case len(not) > 0:
		return fmt.Sprintf("DEGRADED: %d of %d", len(not), len(all))
	case count[LevelStarting] > 0:
		text = fmt.Sprintf("Starting: %d of %d", count[LevelStarting], len(all))
	}
	if n := count[LevelUnused]; n > 0 {
		text += fmt.Sprintf(", unused: %d", n)
	}
	return text
}

// writeAll writes all as text: what is not in sync with its failure, and then a table.
func writeAll(w io.Writer, all []Followed, now time.Time) error {
	var b strings.Builder
	b.WriteString(headline(all, now) + "\n")
	not, rest := split(all, now)
	for _, f := range not {
		fmt.Fprintf(&b, "\n%s %s: %s\n  %s\n", f.Kind, f.Name, f.Status, levelText(f, now))
		for _, text := range []string{errorText(f.Err), advice(f)} {
			if text != "" {
				fmt.Fprintf(&b, "  %s\n", text)
			}
		}
	}
	if len(all) > 0 {
		b.WriteString("\n")
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(table, "LEVEL\tKIND\tNAME\tOBJECTS\tSINCE\tCONTACT\tSTATUS")
		for _, f := range append(not, rest...) {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", f.Level, f.Kind, f.Name, f.Objects,
				age(f.Since, now), age(f.Reflector.Contact, now), cut(statusText(f), 100))
		}
		_ = table.Flush()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// statusText returns the status of f, and how many of its keys fail, also if they are within
// the limits of DegradedAfter.
func statusText(f Followed) string {
	if failing := failingKeys(f); failing > 0 {
		return fmt.Sprintf("%s; failing keys: %d", f.Status, failing)
	}
	return f.Status
}

// failingKeys returns how many keys failed last in a consumer of f.
func failingKeys(f Followed) (failing int) {
	for _, s := range f.Subscribers {
		if s.Worst != nil {
			failing += max(s.Retrying, 1) // 0 while its event is emitted again
		}
	}
	if f.Mirror != nil {
		failing += f.Mirror.Failing
	}
	if f.Push != nil {
		failing += f.Push.Failing + f.Push.Dead
	}
	return failing
}

// writeOne writes everything about f as text.
func writeOne(w io.Writer, f Followed, now time.Time) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", f.Kind, f.Name)
	for _, s := range sections(f, now) {
		fmt.Fprintf(&b, "\n%s\n", s.Title)
		table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, r := range s.Rows {
			_, _ = fmt.Fprintf(table, "  %s\t%s\n", r.Label, r.Value)
		}
		_ = table.Flush()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// section is a part of what is shown about something followed.
type section struct {
	Title string
	Rows  []row
}

// row is a fact. Bad is set if it is a failure.
type row struct {
	Label, Value string
	Bad          bool
}

// add adds a row, unless the value is empty.
func (s *section) add(label, value string) {
	if value != "" {
		s.Rows = append(s.Rows, row{Label: label, Value: value})
	}
}

// bad adds a row with a failure, unless the value is empty.
func (s *section) bad(label, value string) {
	if value != "" {
		s.Rows = append(s.Rows, row{Label: label, Value: value, Bad: true})
	}
}

// count adds a row, unless n is 0.
func (s *section) count(label string, n uint64) {
	if n > 0 {
		s.add(label, strconv.FormatUint(n, 10))
	}
}

// sections describes f for people.
func sections(f Followed, now time.Time) []section {
	all := []section{stateSection(f, now)}
	if f.Namespaces != nil {
		all = append(all, namespaceSection(f.Namespaces, now))
	}
	if lists := listSection(f.Lists); len(lists.Rows) > 0 {
		all = append(all, lists)
	}
	for _, s := range f.Subscribers {
		all = append(all, subscriberSection(s, now))
	}
	if f.Mirror != nil {
		all = append(all, mirrorSection(f.Mirror, now))
	}
	if f.Push != nil {
		all = append(all, pushSection(f.Push))
	}
	if len(f.Recent) > 0 {
		recent := section{Title: "Recent events, the newest first"}
		for i := len(f.Recent) - 1; i >= 0; i-- {
			e := f.Recent[i]
			recent.Rows = append(recent.Rows, row{Label: clock(e.Time), Value: e.Level + " " + redact.Text(e.Text), Bad: e.Level == "WARN" || e.Level == "ERROR"})
		}
		all = append(all, recent)
	}
	return all
}

func stateSection(f Followed, now time.Time) section {
	s := section{Title: "State"}
	if level := levelText(f, now); isInSync(f, now) {
		s.add("Level", level)
		s.add("Status", f.Status)
	} else {
		s.bad("Level", level)
		s.bad("Status", f.Status)
	}
	s.bad("Error", errorText(f.Err))
	s.add("What to do", advice(f))
	s.add("Cluster", f.Cluster)
	s.add("Selects", f.selects())
	switch {
	case f.Synced:
		s.add("Synced", "yes")
	case f.Level == LevelUnused:
		s.add("Synced", "no: it is not in use")
	default:
		s.add("Synced", "no: there was no complete list")
	}
	s.add("Objects", strconv.Itoa(f.Objects))
	s.add("Recorded to", f.Recording)

	r := f.Reflector
	state := string(r.State)
	if p := r.Polling; p != nil {
		state += fmt.Sprintf(", polls every %v because the watch is %s", p.Every, p.Cause)
	}
	s.add("Informer", state)
	s.bad("Cause", string(r.Cause))
	if check.Gist(r.Err) != check.Gist(f.Err) {
		s.bad("Informer's error", errorText(r.Err))
	}
	s.add("Last contact", when(r.Contact, now))
	s.add("Version", r.Version)
	s.count("Watch events", r.WatchEvents)
	for _, left := range r.LeftOut {
		s.bad("Left out", keyText(left.Meta.Key)+": "+errorText(left.Err))
	}
	if r.MoreLeftOut {
		s.bad("Left out", "and more")
	}
	if r.Panics > 0 {
		s.bad("Panics", strconv.FormatUint(r.Panics, 10))
	}
	return s
}

// namespacesShown is how many namespaces are shown to people.
const namespacesShown = 20

// namespaceSection shows namespaces that fail, then those that are not listed yet, then others.
func namespaceSection(all []informer.ReflectorInfo, now time.Time) section {
	s := section{Title: fmt.Sprintf("Namespaces (%d)", len(all))}
	rank := func(m informer.ReflectorInfo) int {
		switch {
		case m.Err != nil:
			return 0
		case m.Passes == 0:
			return 1
		}
		return 2
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b informer.ReflectorInfo) int { return rank(a) - rank(b) })
	for i, m := range all {
		if i == namespacesShown {
			s.add("others", strconv.Itoa(len(all)-i))
			break
		}
		text := fmt.Sprintf("%s, last contact %s", m.State, age(m.Contact, now))
		if m.Passes == 0 {
			text += ", not listed yet"
		}
		if m.Err == nil {
			s.add(m.Namespace, text)
		} else {
			s.bad(m.Namespace, text+", "+string(m.Cause)+": "+errorText(m.Err))
		}
	}
	return s
}

func listSection(lists []ListCount) section {
	var relists uint64
	s := section{}
	for _, l := range lists {
		if l.Reason != store.ReasonFirst {
			relists += l.Count
		}
		how := fmt.Sprintf("%s, %s", l.Reason, modeLabel(l.Streamed))
		s.Rows = append(s.Rows, row{Label: how, Value: fmt.Sprintf("%d %s", l.Count, l.Result), Bad: l.Result != "done"})
	}
	s.Title = fmt.Sprintf("Lists by reason (relists: %d)", relists)
	return s
}

// levelText returns the level of f, and since when.
func levelText(f Followed, now time.Time) string {
	return string(f.Level) + " since " + when(f.Since, now)
}

// errorText returns the text of err, cut and without values that libraries quote.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return redact.Text(err.Error())
}

// advice returns what can be done about the failure of the informer of f.
func advice(f Followed) string {
	switch {
	case f.Level != LevelDegraded:
		return ""
	case f.Kind == FollowedStatus && f.Reflector.Cause == informer.CauseForbidden:
		return "grant the client's identity the verbs list and watch on this resource, or get on the object: the status engine tries them in this order"
	case f.Reflector.Cause == informer.CauseServer:
		return "the API server, or a webhook that it calls, failed: look there; this program tries again by itself"
	case f.Synced && f.Reflector.Err == nil && failingKeys(f) > 0:
		return "the objects are in sync: the consumer in this program returned this error; failed keys are tried again by themselves"
	}
	return f.Reflector.Cause.Advice()
}

// cut returns the first n characters of s.
func cut(s string, n int) string {
	if runes := []rune(s); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return s
}

// keyText returns the key of an event, and "sync" for that of a Sync.
func keyText(k store.Key) string {
	if k.Name == "" {
		return "sync"
	}
	return k.String()
}

// clock returns a time for people in every time zone.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// when returns a time and its age.
func when(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return clock(t) + " (" + age(t, now) + ")"
}

// age returns how long ago t is, or in how long.
func age(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "never"
	case d <= -time.Second:
		return "in " + span(-d)
	case d < time.Second:
		return "now"
	}
	return span(d) + " ago"
}

// span returns a duration in two units.
func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}
