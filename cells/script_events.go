// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// eventLine is an event in YAML or JSON.
type eventLine struct {
	Kind    resource.EventKind `json:"kind"`
	Key     string             `json:"key,omitempty"`
	Version string             `json:"version,omitempty"`
}

// eventFormats are the formats of events, the first is the default.
var eventFormats = map[string]func(eventLine) string{
	formatTable: func(l eventLine) string { return strings.TrimSpace(string(l.Kind)+" "+l.Key) + "\n" },
	formatYAML: func(l eventLine) string {
		text, _ := yaml.Marshal([]eventLine{l})
		return string(text)
	},
	formatJSON: func(l eventLine) string {
		text, _ := json.Marshal(l)
		return string(text) + "\n"
	},
}

func (c resourceCommands) events() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Record the events of a resource",
			Args:    "name",
			Async:   true,
			Flags: func(fs *pflag.FlagSet) {
				fs.StringP("out", "o", "", "File to write to instead of the log")
				fs.StringP("format", "f", formatTable, "Format to write in (table, yaml, json)")
				fs.IntP("count", "c", 0, "End after this number of events, and fail if there are fewer (0: no limit)")
				fs.Duration("timeout", time.Minute, "End after this time (0: at the end of the script or the shell)")
				startFlag(fs)
			},
			Detail: append([]string{
				"Subscribes to the resource as 'resource/events', and marks each event as done. The",
				"first events are an upsert for each object, and a sync. The table has no versions.",
				"",
				"A script records in the background, and compares the file with retries:",
				"",
				"> resource/events Pod.v1 --out=events &",
				"> k8s/add pod.yaml",
				"> # the pod comes",
				"> * cmp events events.expected",
				"",
				"Events of different keys come in any order. Changes of a key can be merged into one",
				"event. In a shell, Ctrl-C ends the command.",
				"",
			}, startHelp...),
			AutocompleteArgs: completeFirst(c.names),
			AutocompleteFlag: completeFormat(formatTable, formatYAML, formatJSON),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "the name of a resource"); err != nil {
				return nil, err
			}
			name, _ := s.Flags.GetString("format")
			format := eventFormats[name]
			if format == nil {
				return nil, fmt.Errorf("--format=%s: want table, yaml or json", name)
			}
			f, err := c.access(s, args[0])
			if err != nil {
				return nil, err
			}
			r := &recording{name: f.name, format: format}
			r.count, _ = s.Flags.GetInt("count")
			r.timeout, _ = s.Flags.GetDuration("timeout")
			if file, _ := s.Flags.GetString("out"); file != "" {
				out, err := os.Create(s.Path(file))
				if err != nil {
					return nil, err
				}
				r.out = out
			}
			return r.start(s.Context(), f.access), nil
		},
	)
}

// recording writes events until it has enough, its time is over, or the script ends.
type recording struct {
	name    string
	format  func(eventLine) string
	count   int
	timeout time.Duration
	out     io.WriteCloser // nil: the log of the script
	lines   chan string    // for the log
}

// start subscribes and records. The returned function waits for the end.
func (r *recording) start(stopped context.Context, use *access) script.WaitFunc {
	ctx, cancel := context.WithCancel(stopped)
	over := func() bool { return false }
	if r.timeout > 0 {
		over = time.AfterFunc(r.timeout, cancel).Stop
	}
	r.lines = make(chan string, 1000) // in the background nobody reads them before the end
	ended := make(chan error, 1)
	events := use.events(ctx, "resource/events")
	go func() {
		err := r.record(ctx, events)
		cancel()
		over()
		if r.out != nil {
			err = errors.Join(err, r.out.Close())
		}
		close(r.lines)
		ended <- err
	}()
	return func(s *script.State) (stdout, stderr string, err error) {
		for line := range r.lines {
			s.Logf("%s", line)
			// After the end of a script, its log is closed.
			if stopped.Err() == nil && s.FlushLog() != nil {
				cancel() // the shell is gone
			}
		}
		if err = <-ended; stopped.Err() != nil {
			err = nil
		}
		return "", "", err
	}
}

// record records until ctx or the events end.
func (r *recording) record(ctx context.Context, events iter.Seq2[resource.EventKind, runtime.Object]) error {
	n := 0
	for kind, obj := range events {
		line := eventLine{Kind: kind}
		if kind != resource.Sync {
			line.Key, line.Version = store.KeyOf(obj).String(), versionOf(obj)
		}
		if r.out != nil {
			if _, err := io.WriteString(r.out, r.format(line)); err != nil {
				return err
			}
		} else {
			select {
			case r.lines <- r.format(line):
			case <-ctx.Done():
			}
		}
		if n++; n == r.count {
			return nil
		}
	}
	switch {
	case r.count == 0:
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("resource %s: %d of %d events came, and then the resource stopped", r.name, n, r.count)
	}
	return fmt.Errorf("resource %s: %d of %d events came within %s", r.name, n, r.count, r.timeout)
}
