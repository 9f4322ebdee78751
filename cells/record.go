// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
)

// Record records what the resource, mirror or push receives to a file, for a replay in a
// test. See package record for what the file contains. Each of them needs a file of its own.
// See [record.NewFile] for how the file is made. It is closed at Stop. The command
// resource/record of [ScriptCommands] records while the program runs; these options apply to it.
//
// If the file cannot be written, and at the limit of its size, recording ends with a log line.
// Objects that a transform makes of Secrets are not recorded: the construction fails.
func Record(path string, opts ...record.Option) Option {
	return func(o *options) {
		if path == "" {
			o.failf("cells.Record: the path is empty")
			return
		}
		o.recordTo, o.recordOpts = path, opts
	}
}

// reading returns the options for the source of f. Recording begins if o has Record.
func (f *followed) reading(o *options, log *slog.Logger) ([]source.SourceOption, error) {
	f.recordLog, f.recordOpts = log.With("resource", f.name), o.recordOpts
	if o.recordTo != "" {
		if err := f.record(record.NewFile(o.recordTo), o.recordTo); err != nil {
			return nil, fmt.Errorf("cells.Record: %w", err)
		}
	}
	return append(slices.Clip(o.reading), source.WithRecordingSwitch(&f.recording)), nil
}

// record begins to record f. The options of Record apply as well.
func (f *followed) record(file *record.File, path string, opts ...record.Option) error {
	all := []record.Option{record.WithLogger(f.recordLog.With("file", path))}
	return f.recording.Start(file, slices.Concat(all, f.recordOpts, opts)...)
}

// endRecording completes the file of a recording.
func (f *followed) endRecording(log *slog.Logger) {
	if err := f.recording.Stop(); err != nil {
		log.Warn("Recording was not completed", "resource", f.name, "error", err)
	}
}
