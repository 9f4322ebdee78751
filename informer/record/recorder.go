// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"time"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// defaultLimit is the default size of a recording in bytes.
const defaultLimit = 256 << 20

// Option configures [NewSource]. Nil options are skipped.
type Option func(*recorder)

// WithoutFields leaves out fields of the recorded objects. Paths have the names of manifests:
// "spec.template.spec.containers.env". A path includes everything below it, and applies to each
// element of an array. "metadata.annotations[example.com/token]" is one entry of a map. The
// kind, name, namespace, UID and resource version stay. Several options add up.
func WithoutFields(paths ...string) Option {
	return func(r *recorder) {
		for _, path := range paths {
			names, err := parsePath(path)
			if err != nil {
				r.invalid = errors.Join(r.invalid, err)
				continue
			}
			r.fields.add(names)
			r.chosen = true
		}
	}
}

// WithLimit sets the size in bytes at which a recording ends. The last line of the recording
// and a log line say so. Compression does not count. Default: 256 MiB.
func WithLimit(bytes int64) Option {
	return func(r *recorder) {
		if bytes <= 0 {
			r.invalid = errors.Join(r.invalid, fmt.Errorf("WithLimit(%d): give a positive number of bytes", bytes))
			return
		}
		r.limit = bytes
	}
}

// WithLogger sets the logger for the end of a recording. Default: slog.Default().
func WithLogger(log *slog.Logger) Option {
	return func(r *recorder) { r.log = log }
}

// recorder writes the lines of a recording. The goroutine that calls the source owns it.
type recorder struct {
	out    io.Writer
	buf    *bufio.Writer
	fields fields // that are left out of each object
	chosen bool   // a user has named some of them
	limit  int64
	log    *slog.Logger

	invalid error // an option is

	header  line
	start   time.Time // zero: nothing is written yet
	written int64
	pending *line // of an object that can still be decoded
	ended   bool
}

func newRecorder(w io.Writer, opts []Option) *recorder {
	r := &recorder{out: w, buf: bufio.NewWriter(w), fields: fields{}, limit: defaultLimit}
	for _, path := range always {
		r.fields.add(path)
	}
	for _, opt := range opts {
		if opt != nil {
			opt(r)
		}
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r
}

// write writes a line. An error, a panic of the writer, and the limit end the recording.
func (r *recorder) write(l *line) {
	r.settle(false)
	if r.ended {
		return
	}
	if r.start.IsZero() {
		r.start = time.Now()
		r.header.Line, r.header.Format, r.header.Start = lineHeader, format, r.start.UTC()
		l.At = 0
		r.put(&r.header)
	}
	r.put(l)
}

// settle writes the line of the last object. If flushes is true, w gets it at once.
func (r *recorder) settle(flushes bool) {
	l := r.pending
	if l == nil {
		return
	}
	r.pending = nil
	r.write(l)
	if flushes {
		r.do(r.buf.Flush)
	}
}

// now returns the time since the header.
func (r *recorder) now() time.Duration {
	if r.start.IsZero() {
		return 0
	}
	return time.Since(r.start)
}

func (r *recorder) put(l *line) {
	text, err := json.Marshal(l)
	if err != nil {
		r.end(err)
		return
	}
	if r.written += int64(len(text)) + 1; r.written > r.limit && l.Line != lineEnd {
		reason := fmt.Errorf("the recording has reached its limit of %d bytes", r.limit)
		r.put(&line{Line: lineEnd, At: l.At, Text: reason.Error()})
		r.flush()
		r.end(reason)
		return
	}
	r.do(func() error {
		_, err := r.buf.Write(append(text, '\n'))
		return err
	})
}

// flush writes what is buffered. At the end of a call the writer is flushed as well, if it has
// a method for it.
func (r *recorder) flush() {
	r.do(r.buf.Flush)
	if f, ok := r.out.(interface{ Flush() error }); ok {
		r.do(f.Flush)
	}
}

// do calls a function of the writer, unless the recording has ended.
func (r *recorder) do(f func() error) {
	if r.ended {
		return
	}
	if err := guarded(f); err != nil {
		r.end(err)
	}
}

func guarded(f func() error) (err error) {
	defer usercode.Recover("writer of a recording", store.Key{}, &err)
	return f()
}

// end ends the recording because of err.
func (r *recorder) end(err error) {
	if r.ended {
		return
	}
	r.ended = true
	r.log.Warn("Recording has ended, the resource continues without it", "error", err)
}

// encode returns the JSON of an object without the fields that are left out.
func (r *recorder) encode(obj any) (content json.RawMessage, err error) {
	err = guarded(func() (err error) {
		content, err = json.Marshal(obj)
		return err
	})
	if err == nil && (r.chosen || bytes.Contains(content, []byte("managedFields")) || bytes.Contains(content, []byte("last-applied-configuration"))) {
		content, err = r.fields.leaveOut(content)
	}
	if err == nil && isSecret(obj, content) {
		content, err = secret.leaveOut(content)
	}
	return content, err
}

// isSecret reports whether an object is a Secret, by its Go type or its kind.
func isSecret(obj any, content []byte) bool {
	typ := reflect.TypeOf(obj)
	if typ != nil && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ != nil && typ.Name() == "Secret" {
		return true
	}
	if !bytes.Contains(content, []byte(`"Secret"`)) {
		return false
	}
	var kind struct {
		Kind string `json:"kind"`
	}
	return json.Unmarshal(content, &kind) == nil && kind.Kind == "Secret"
}
