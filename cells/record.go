// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"log/slog"
	"slices"

	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
)

// Record records what the resource, mirror or push receives to a file, for a replay in a
// test. See package record for what the file contains. Each of them needs a file of its own.
// See [record.NewFile] for how the file is made. It is closed at Stop.
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

// reading returns the options for the source of f, and keeps the file that f records to.
func (f *followed) reading(o *options, log *slog.Logger) []source.SourceOption {
	if o.recordTo == "" {
		return o.reading
	}
	f.recording = record.NewFile(o.recordTo)
	opts := append([]record.Option{record.WithLogger(log.With("resource", f.name, "file", o.recordTo))}, o.recordOpts...)
	return append(slices.Clip(o.reading), source.WithRecording(f.recording, opts...))
}
