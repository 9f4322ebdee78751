// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"fmt"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/informer/record"
)

func (c resourceCommands) record() script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Record what a resource, a mirror, a push or a status scope receives",
			Args:    "name [file]",
			Flags: func(fs *pflag.FlagSet) {
				fs.Bool("stop", false, "Stop the recording, and complete its file")
				fs.StringSlice("without-fields", nil, "Fields to leave out, such as 'spec.containers.env'")
			},
			Detail: []string{
				"Records lists, watches, objects, events and errors to a file, until '--stop' or the stop",
				"of the hive, for a replay in a test: see package informer/record. A name that ends in",
				".gz compresses the file. An existing file is replaced.",
				"",
				"The recording begins with a list, which the command requests, as resource/resync does.",
				"The time before is not recorded. The list of a push can wait for MinSnapshotInterval.",
				"An unused resource is recorded from its first use.",
				"",
				"Data of Secrets is left out, and what is made of Secrets is refused. Everything else is",
				"in the file, except the fields of '--without-fields' and of cells.Record.",
				"",
				"> resource/record Pod.v1 pods.jsonl.gz",
				"> # reproduce the problem",
				"> resource/record Pod.v1 --stop",
			},
			AutocompleteArgs: completeFirst(c.names),
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			stop, _ := s.Flags.GetBool("stop")
			want := []string{"a name", "a file"}
			if stop {
				want = want[:1]
			}
			if err := wantArgs(args, want...); err != nil {
				return nil, err
			}
			f, err := c.enabled(args[0])
			switch {
			case err != nil:
				return nil, err
			case stop:
				path := f.recording.Path()
				if path == "" {
					return nil, fmt.Errorf("%s %s is not recorded", f.kind, f.name)
				}
				if err := f.recording.Stop(); err != nil {
					return nil, fmt.Errorf("the recording of %s to %s is not complete: %w", f.name, path, err)
				}
				s.Logf("%s was recorded to %s\n", f.name, path)
				return nil, nil
			}
			fields, _ := s.Flags.GetStringSlice("without-fields")
			return nil, f.startRecording(s.Path(args[1]), record.WithoutFields(fields...))
		},
	)
}

// startRecording records f while it runs, from the next list on, which it requests.
func (f *followed) startRecording(path string, opts ...record.Option) error {
	failed := func(err error) error { return fmt.Errorf("%s %s cannot be recorded: %w", f.kind, f.name, err) }
	if f.unrecorded != nil {
		return failed(f.unrecorded)
	}
	file := record.NewFile(path)
	if err := f.record(file, path, opts...); err != nil {
		return failed(err)
	}
	if _, err := file.Write(nil); err != nil { // creates it
		return failed(errors.Join(err, f.recording.Stop()))
	}
	if !f.unused() {
		f.resync(errors.New("requested by the command resource/record"))
	}
	return nil
}
