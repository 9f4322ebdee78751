// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// Replay is an [informer.Source] that returns what a recorded one did, call by call. It must
// belong to one Reflector.
//
// A call that differs from the recorded one, in the method or in the options, returns an error
// that shows the difference. The recorded call then waits for the next try. Timeouts of watches
// are not compared, because they are random. A call after the recorded ones blocks until its
// context ends.
//
// A request that ended with its context in the recorded run, as by an idle timeout or a Resync,
// blocks until its context ends.
type Replay[T any] struct {
	rec   *recording
	speed float64
	done  chan struct{}

	mu    sync.Mutex
	next  int // index of the next recorded call
	err   error
	ended bool // done is closed
}

// NewReplay reads a recording of a source of T, which can be compressed with gzip. An incomplete
// last line, as after the end of a process, is ignored. The whole recording is in memory.
//
// With speed 1, answers and events take as long as in the recorded run; with 10, a tenth of the
// time. With 0 they come at once.
//
// A Reflector makes some decisions by the clock: when it lists again, and when watches fail
// for too long. So use speed 1 in a bubble of testing/synctest, where time costs nothing, and
// the settings of the recorded run.
func NewReplay[T any](recording io.Reader, speed float64) (*Replay[T], error) {
	if !(speed >= 0) {
		return nil, fmt.Errorf("replay of a recording: the speed is %v: give 0 or a positive number", speed)
	}
	rec, err := read(recording)
	if err != nil {
		return nil, fmt.Errorf("replay of a recording: %w", err)
	}
	if of := check.TypeName[T](); rec.header.Objects != of {
		return nil, fmt.Errorf("replay of a recording: the objects are of type %q, not %q", rec.header.Objects, of)
	}
	return &Replay[T]{rec: rec, speed: speed, done: make(chan struct{})}, nil
}

// Done returns a channel that is closed when the Reflector has handled everything that was
// recorded, and waits for more.
func (r *Replay[T]) Done() <-chan struct{} { return r.done }

// Err returns an error for the first difference from the recorded run, or nil.
func (r *Replay[T]) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// WatchList implements [informer.Source].
func (r *Replay[T]) WatchList() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next < len(r.rec.calls) && r.rec.calls[r.next].Streams
}

// StrictDecoding implements [informer.StrictDecoder].
func (r *Replay[T]) StrictDecoding() bool { return r.rec.header.Strict }

// List implements [informer.Source].
func (r *Replay[T]) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[T]) error) (informer.Page, error) {
	return r.list(ctx, callList, opts, func(o *object) error { return yield(&replayedItem[T]{object: o}) })
}

// ListMetadata implements [informer.MetadataLister].
func (r *Replay[T]) ListMetadata(ctx context.Context, opts metav1.ListOptions, yield func(store.Meta) error) (informer.Page, error) {
	return r.list(ctx, callMetadata, opts, func(o *object) error { return yield(o.meta()) })
}

func (r *Replay[T]) list(ctx context.Context, method string, opts metav1.ListOptions, yield func(*object) error) (informer.Page, error) {
	p, err := r.begin(ctx, method, &opts)
	if err != nil {
		return informer.Page{}, err
	}
	for {
		l, err := p.step(nil)
		if err != nil {
			return informer.Page{}, err
		}
		switch l.Line {
		case lineItem:
			if err := yield(l.Object); err != nil {
				return informer.Page{}, err
			}
		case linePage:
			return *l.Page, nil
		default:
			return informer.Page{}, r.differs("the sink refused an object of the %s in the recorded run, and accepts it now", p.call.describe())
		}
	}
}

// Absent implements [informer.AbsenceFinder].
func (r *Replay[T]) Absent(ctx context.Context) (bool, error) {
	p, err := r.begin(ctx, callAbsent, nil)
	if err != nil {
		return false, err
	}
	l, err := p.step(nil)
	return l.Absent, err
}

// Watch implements [informer.Source].
func (r *Replay[T]) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[T], error) {
	p, err := r.begin(ctx, callWatch, &opts)
	if err != nil {
		return nil, err
	}
	if _, err := p.step(nil); err != nil {
		return nil, err
	}
	return &replayedStream[T]{playing: p, stop: make(chan struct{})}, nil
}

// begin takes the next recorded call, which must be the same.
func (r *Replay[T]) begin(ctx context.Context, method string, opts *metav1.ListOptions) (*playing[T], error) {
	r.mu.Lock()
	if r.next == len(r.rec.calls) {
		r.endLocked()
		r.mu.Unlock()
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	call := &r.rec.calls[r.next]
	recorded, now := call.describe(), describe(method, opts)
	if recorded == now {
		r.next++
	}
	last, number := r.next == len(r.rec.calls), r.next+1
	r.mu.Unlock()
	if recorded != now {
		return nil, r.differs("call %d is %s: in the recorded run it was %s", number, now, recorded)
	}
	call.http.replayRequest(ctx)
	return &playing[T]{replay: r, ctx: ctx, call: call, last: last, began: time.Now()}, nil
}

// differs returns an error for a difference, and keeps the first one.
func (r *Replay[T]) differs(format string, args ...any) error {
	err := fmt.Errorf("replay of a recording: "+format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	return err
}

// endLocked closes done. The caller holds the lock.
func (r *Replay[T]) endLocked() {
	if !r.ended {
		r.ended = true
		close(r.done)
	}
}

// describe returns a call as text. Two calls are the same if the text is the same.
func describe(method string, opts *metav1.ListOptions) string {
	var b strings.Builder
	b.WriteString(method)
	if opts == nil {
		return b.String()
	}
	for _, o := range []struct{ name, value string }{
		{"labels", opts.LabelSelector}, {"fields", opts.FieldSelector},
		{"version", opts.ResourceVersion}, {"match", string(opts.ResourceVersionMatch)}, {"continue", opts.Continue},
	} {
		if o.value != "" {
			fmt.Fprintf(&b, " %s=%q", o.name, o.value)
		}
	}
	if opts.Limit != 0 {
		fmt.Fprintf(&b, " limit=%d", opts.Limit)
	}
	if opts.AllowWatchBookmarks {
		b.WriteString(" bookmarks")
	}
	if opts.SendInitialEvents != nil {
		fmt.Fprintf(&b, " initial-events=%v", *opts.SendInitialEvents)
	}
	return b.String()
}

func (c *recordedCall) describe() string { return describe(c.Call, c.Options) }

// playing is a call that is replayed.
type playing[T any] struct {
	replay *Replay[T]
	ctx    context.Context
	call   *recordedCall
	last   bool // of the recording
	began  time.Time
	steps  int // that were returned
}

var errStopped = errors.New("the watch was stopped")

// step returns the next line of the call when it is time. It returns an error for the end of
// the context, for a recorded error, and if stop is closed.
func (p *playing[T]) step(stop <-chan struct{}) (line, error) {
	if p.steps == len(p.call.steps) {
		if p.last {
			return line{}, p.end(stop)
		}
		return line{}, p.replay.differs("the recorded run ended the %s after %d lines, and this one did not", p.call.describe(), p.steps)
	}
	l := p.call.steps[p.steps]
	if l.Line == lineCanceled {
		p.answered()
		return line{}, p.end(stop)
	}
	var due time.Duration
	if p.replay.speed > 0 {
		due = time.Duration(float64(l.At-p.call.At)/p.replay.speed) - time.Since(p.began)
	}
	if err := p.wait(max(0, due), stop); err != nil {
		return line{}, err
	}
	p.answered()
	p.steps++
	if l.Line == lineFailed {
		return line{}, l.Error.err()
	}
	return l, nil
}

// answered replays the first byte of the response before the first line.
func (p *playing[T]) answered() {
	if p.steps == 0 {
		p.call.http.replayAnswer(p.ctx)
	}
}

// wait waits for d. It returns an error if the context ends or stop is closed.
func (p *playing[T]) wait(d time.Duration, stop <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-stop:
		return errStopped
	}
}

// end blocks until the context ends or stop is closed.
func (p *playing[T]) end(stop <-chan struct{}) error {
	if p.last {
		p.replay.mu.Lock()
		p.replay.endLocked()
		p.replay.mu.Unlock()
	}
	select {
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	case <-stop:
		return errStopped
	}
}

// replayedStream is a watch that is replayed.
type replayedStream[T any] struct {
	*playing[T]
	failed error
	once   sync.Once
	stop   chan struct{}
}

// Next implements [informer.Stream].
func (s *replayedStream[T]) Next() (informer.WatchEvent[T], error) {
	if s.failed != nil {
		return informer.WatchEvent[T]{}, s.failed
	}
	l, err := s.step(s.stop)
	if err != nil {
		s.failed = err
		return informer.WatchEvent[T]{}, err
	}
	e := informer.WatchEvent[T]{Type: l.Event.Type, Version: l.Event.Version, InitialEventsEnd: l.Event.End, Form: l.Event.Form}
	if l.Object != nil {
		e.Item = &replayedItem[T]{object: l.Object}
	}
	return e, nil
}

// Stop implements [informer.Stream].
func (s *replayedStream[T]) Stop() { s.once.Do(func() { close(s.stop) }) }

// replayedItem is a recorded object.
type replayedItem[T any] struct{ object *object }

// Meta implements [informer.Item].
func (i *replayedItem[T]) Meta() store.Meta { return i.object.meta() }

var errNotDecoded = errors.New("the recorded run did not decode the object, because its sink had it")

// Decode implements [informer.Item].
func (i *replayedItem[T]) Decode() (obj T, err error) {
	switch {
	case i.object.Error != nil:
		return obj, i.object.Error
	case i.object.Content == nil:
		return obj, &informer.DecodingError{Meta: i.Meta(), Err: errNotDecoded}
	}
	if err := utiljson.Unmarshal(i.object.Content, &obj); err != nil {
		return obj, &informer.DecodingError{Meta: i.Meta(), Err: redact.Decoding(err)}
	}
	return obj, nil
}
