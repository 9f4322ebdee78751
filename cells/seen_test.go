// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/script"
	"github.com/prometheus/client_golang/prometheus"
)

// Whatever the trouble is, log, health, metrics, page and shell say which resource it is,
// since when, and why. A golden file for each trouble has all of them.
func TestTroubleIsSeen(t *testing.T) {
	noCluster(t)
	for name, tr := range troubles() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				registry := prometheus.NewRegistry()
				health := newHealthLog()
				tr.log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
				tr.more = append(tr.more, Metrics, cell.Provide(
					func() cell.Health { return health },
					func() prometheus.Registerer { return registry },
				))
				tr.follow(t, func(all *Resources) {
					got := &strings.Builder{}
					lines := slices.Sorted(strings.Lines(out.String())) // at one time they come in any order
					fmt.Fprintf(got, "## log\n%s\n## health\n", strings.Join(lines, ""))
					for _, line := range byScope(health) {
						fmt.Fprintln(got, line)
					}
					fmt.Fprintf(got, "\n## metrics\n%s\n## page\n", figures(t, registry))
					page, _, _ := strings.Cut(load(t, examplePage(all), "/?format=text"), "\nLEVEL")
					fmt.Fprintf(got, "%s\n## shell\n", page)
					shell, _, _ := strings.Cut(printed(t, resourceCommands{all}.all()), "\nLEVEL")
					got.WriteString(shell)
					// At the time of a retry, a call of Store that is logged has the error before or after.
					expectGolden(t, name+".seen", strings.ReplaceAll(got.String(), "streamed list of ", "list "))
				})
			})
		})
	}
}

// byScope returns what health has said, by scope and then in order.
func byScope(health *healthLog) (lines []string) {
	for len(health.lines) > 0 {
		lines = append(lines, <-health.lines)
	}
	level := regexp.MustCompile(` (OK|Degraded|Stopped): `)
	slices.SortStableFunc(lines, func(a, b string) int { return cmp.Compare(level.Split(a, 2)[0], level.Split(b, 2)[0]) })
	return lines
}

// figures are the metrics of trouble that are not zero.
func figures(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		switch strings.TrimPrefix(f.GetName(), "apiary_resource_") {
		case "synced", "state", "failures_total", "subscriber_errors_total", "subscriber_retrying", "retrying_oldest_seconds":
		default:
			continue
		}
		for _, m := range f.Metric {
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue()
			if value == 0 && f.GetName() != "apiary_resource_synced" {
				continue
			}
			fmt.Fprint(&text, f.GetName())
			for _, l := range m.Label {
				fmt.Fprintf(&text, " %s=%s", l.GetName(), l.GetValue())
			}
			fmt.Fprintln(&text, "", value)
		}
	}
	return text.String()
}

// printed is what a command prints.
func printed(t *testing.T, cmd script.Cmd) string {
	t.Helper()
	state, err := script.NewState(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	engine := script.Engine{Cmds: map[string]script.Cmd{"command": cmd}}
	if err := engine.Execute(state, "", bufio.NewReader(strings.NewReader("command\n")), &out); err != nil {
		t.Fatal(err)
	}
	_, stdout, _ := strings.Cut(out.String(), "[stdout]\n")
	return stdout
}
