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
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// recorder writes the lines of a recording.
type recorder struct {
	out    io.Writer
	fields fields // that are left out of each object
	chosen bool   // a user has named some of them
	limit  int64
	log    *slog.Logger
	of     *Switch // has the recorder until it ends
	file   *File   // that the recorder closes, or nil

	invalid error // an option is

	// The goroutine that calls the source owns these. Start is written under the mutex.
	active bool // the recording has begun
	whole  bool // the first list is not complete: it is recorded with all objects
	header line
	start  time.Time // zero: nothing is written yet

	// The mutex is for Switch.Stop, which other goroutines call.
	mu      sync.Mutex
	buf     *bufio.Writer
	written int64
	pending *line // of an object that can still be decoded
	ended   bool
	why     error // it has ended, and no log line says so yet
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

// begins reports whether a call is recorded. A recording begins with the first call of the
// source, or later with a list of the newest state.
func (r *recorder) begins(first bool, method string, opts *metav1.ListOptions) bool {
	if r.active || first {
		r.active = true
		return true
	}
	switch method {
	case callList:
		r.active = opts.ResourceVersion == "" && opts.Continue == ""
	case callWatch:
		r.active = opts.ResourceVersion == "" && opts.SendInitialEvents != nil && *opts.SendInitialEvents
	}
	r.whole = r.active
	return r.active
}

// write writes a line. An error, a panic of the writer, and the limit end the recording.
func (r *recorder) write(l *line) { r.locked(func() { r.writeLocked(l) }) }

// settle writes the line of the last object. If flushes is true, w gets it at once.
func (r *recorder) settle(flushes bool) { r.locked(func() { r.settleLocked(flushes) }) }

// await makes l the line of an object that can still be decoded.
func (r *recorder) await(l *line) {
	r.locked(func() {
		r.settleLocked(false)
		r.pending = l
	})
}

// awaits reports whether l is not written yet.
func (r *recorder) awaits(l *line) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.ended && r.pending == l
}

// locked calls f with the mutex. If that ends the recording, it logs the reason without the
// mutex.
func (r *recorder) locked(f func()) {
	r.mu.Lock()
	f()
	why := r.why
	r.why = nil
	r.mu.Unlock()
	if why == nil {
		return
	}
	r.of.rec.CompareAndSwap(r, nil)
	if r.file != nil {
		why = errors.Join(why, r.file.Close())
	}
	r.log.Warn("Recording has ended, the resource continues without it", "error", why)
}

// stop ends the recording, and closes its file.
func (r *recorder) stop() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return nil
	}
	r.pending = nil // its object is not complete
	if !r.start.IsZero() {
		r.put(&line{Line: lineEnd, At: r.now(), Text: "the recording was stopped"})
		r.do(r.buf.Flush)
	}
	r.ended = true
	err := r.why
	r.why = nil
	return errors.Join(err, r.file.Close())
}

func (r *recorder) writeLocked(l *line) {
	r.settleLocked(false)
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

func (r *recorder) settleLocked(flushes bool) {
	l := r.pending
	if l == nil {
		return
	}
	r.pending = nil
	r.writeLocked(l)
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
		r.flushLocked()
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
func (r *recorder) flush() { r.locked(r.flushLocked) }

func (r *recorder) flushLocked() {
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
	if !r.ended {
		r.ended, r.why = true, err
	}
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
