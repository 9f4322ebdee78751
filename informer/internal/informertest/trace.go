// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apiary-go/apiary/informer"
)

var update = flag.Bool("update", false, "write what was observed into the traces of testdata")

const divider = "-- what happens --\n"

// PlayTraces plays each file of a pattern and compares what happens with what stands
// behind the divider in it. The flag -update writes that.
func PlayTraces(t *testing.T, pattern string, play func(*testing.T, string) string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(data), divider)
			got := play(t, script)
			if *update {
				if err := os.WriteFile(file, []byte(script+divider+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("%s: got\n%s\nwant\n%s\n%s", file, got, want, firstDifference(got, want))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("first difference in line %d:\n got  %s\n want %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// Occurrence renders o for a reader. Of Recovered it says nothing: where it is due can be
// seen.
func Occurrence(start time.Time, o informer.Occurrence) string {
	how := map[bool]string{true: "streamed", false: "paged"}
	switch o := o.(type) {
	case informer.ListStarted:
		return "list started, " + how[o.Streamed]
	case informer.PageRead:
		return fmt.Sprintf("page %d read, %d objects, %d remain", o.Number, o.Objects, o.Remaining)
	case informer.ListDone:
		return fmt.Sprintf("list done, %s, version %q, %d objects, %d decoded", how[o.Streamed], o.Version, o.Objects, o.Decoded)
	case informer.ListFailed:
		return fmt.Sprintf("list failed (%s)", o.Cause)
	case informer.WatchOpened:
		return fmt.Sprintf("watch opened at %q", o.Version)
	case informer.WatchEnded:
		text := fmt.Sprintf("watch ended (%s) at %q after %v, %d events", o.Cause, o.Version, o.Lived, o.Events)
		if o.Err != nil {
			text += ": " + o.Err.Error()
		}
		return text
	case informer.RelistNeeded:
		return fmt.Sprintf("relist needed (%s)", o.Reason)
	case informer.WatchListUnavailable:
		return fmt.Sprintf("watch-list unavailable until %v: %v", o.Retry.Sub(start), o.Err)
	case informer.BackingOff:
		return fmt.Sprintf("backing off for %v, failure %d (%s)", o.For, o.Failure, o.Cause)
	case informer.Recovered:
		return ""
	case informer.Polling:
		return fmt.Sprintf("polling every %v (%s)", o.Every, o.Cause)
	case informer.CheckDiffers:
		return "check differs at " + o.Key.String()
	case informer.Missed:
		return fmt.Sprintf("missed %d, first %s", o.Count, o.Key)
	case informer.WatchProved:
		return fmt.Sprintf("watch proved at %q", o.Version)
	case informer.VersionsUnordered:
		return fmt.Sprintf("versions unordered: %s after %q", o.Meta, o.From)
	case informer.Draining:
		return "draining"
	case informer.WentBackwards:
		return fmt.Sprintf("went backwards from %s to %s", o.From, o.To)
	}
	return fmt.Sprintf("%#v", o)
}
