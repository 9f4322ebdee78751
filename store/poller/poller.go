// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package poller drives a [store.Sink] by polling: it gets the whole state of a collection
// again and again, and the sink receives what changed. It is for sources without a watch.
package poller

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// GetFunc gets the present state of a collection. It, and the iterator that it
// returns, should end when ctx does: nothing else can make them, and the Poller
// waits for them. Both are called by the goroutine that runs the Poller, one call
// at a time.
type GetFunc[T any] func(ctx context.Context) (Enumerator[T], error)

// Enumerator is one state of a collection.
type Enumerator[T any] struct {
	// Version of the state, such as a resource version or the ETag of a response.
	// States with equal versions are equal. Empty: there is none.
	Version string

	// Objects yields each object once, with a nil error. An error ends the poll,
	// which then has failed: what was not yielded is not taken for gone. The
	// iterator is run once, at most. It is not run, and may be nil, if the version
	// is the one that the sink is at: see [Info].
	//
	// Objects are handed over to the sink.
	Objects iter.Seq2[T, error]
}

// Enumerate returns an Enumerator of objs, for who has all of them.
func Enumerate[T any](version string, objs []T) Enumerator[T] {
	return Enumerator[T]{Version: version, Objects: func(yield func(T, error) bool) {
		for _, obj := range objs {
			if !yield(obj, nil) {
				return
			}
		}
	}}
}

// Config configures a [Poller]. Get and Sink are required; the zero value of
// everything else is a useful default.
type Config[T any] struct {
	// Name stands in errors. Default: the name of T.
	Name string

	// Get is what is polled.
	Get GetFunc[T]

	// Key tells the key of an object. Default: [store.MetaNamespaceKeyFunc].
	Key store.KeyFunc[T]

	// Sink is told what Get got, such as a [store.Store] or the sink of a [fifo.FIFO].
	Sink store.Sink[T]

	// Period is the pause between polls, from the end of one to the start of the
	// next. Default 30 s.
	Period time.Duration

	// Jitter adds up to this share of any pause at random, so that many Pollers
	// do not stay in step. Default 0.1; negative: none.
	Jitter float64

	// Timeout is for each call of Get, until its iterator has ended. What the sink
	// takes to apply the objects counts. A poll that takes longer has failed, even
	// if Get does not heed it. Default 30 s.
	Timeout time.Duration

	// MaxBackoff is the longest pause after a failure, before jitter. The first one
	// is 1 s, or Period if that is shorter, and each further one is twice the one
	// before. A Retry-After of the server is obeyed if it is longer. Default: 1
	// minute, or Period if that is longer.
	MaxBackoff time.Duration

	// OnError is told of each failure, before the pause. It is called by the
	// goroutine that runs the Poller, with no lock held. Default: failures are only
	// to be seen in [Info].
	OnError func(error)
}

// Info describes a [Poller] at some moment. Counters count from its
// construction.
type Info struct {
	Name string

	// Version is that of the state that the sink accepted. It is empty from the
	// start of a pass until that is accepted, however long that takes: the sink may
	// have parts of another state then. Objects is how many objects the last
	// accepted state has.
	Version string
	Objects int

	// Polls counts calls of Get. Each of them but one that is under way, or was
	// when Run ended, is counted once more: in Passes if it became a pass that the
	// sink accepted, in Unchanged if the sink was at the version already, in
	// Failures, or in Refused if the sink asked for another pass or for a pause.
	Polls, Passes, Unchanged, Failures, Refused uint64

	// Success is when the last poll ended that became a pass or was unchanged, zero
	// if none did. So it is since when the sink has not been known to be right.
	Success time.Time

	// Err is the last failure, nil if a poll succeeded since.
	Err error
}

// Poller keeps a sink in step with what a function gets, for what cannot be
// watched. Each poll is a pass: a [store.Sink] is told of what is gone at the end of the
// pass, and not at all if the poll failed midway.
//
//   - The first poll is made at once, the next one Period after the end of it.
//   - A state whose version the sink is at is not told at all. Of any other, the
//     sink is asked for each object whether it holds it, and is not told those that
//     are unchanged. An object without a resource version gets the [store.ContentVersion]
//     as its version for that, so what does not show in its JSON does not count.
//   - A poll fails if Get does or takes too long, or if the sink does, if an object
//     has no key, or if two have the same. Then nothing is taken for gone, and the
//     next poll is made after a backoff.
//   - [store.ErrResync] and [store.FullError] of the sink are no failures. The next poll is made
//     at once, after a FullError when Drained is closed, and becomes a pass. If the
//     sink does the same again the backoff comes before it.
//
// A sink that is told everything in each pass, as that of a [fifo.FIFO] is, is told
// everything in each poll, but for those with an equal version.
type Poller[T any] struct {
	cfg       Config[T]
	asked     chan struct{}
	started   atomic.Bool
	detecting func(run func()) // of DetectMutations

	mu   sync.Mutex
	info Info
}

// New returns a Poller that does nothing until Run. It fails if the Get or
// the Sink is missing, or a setting makes no sense.
func New[T any](cfg Config[T]) (*Poller[T], error) {
	if cfg.Name == "" {
		cfg.Name = reflect.TypeFor[T]().String()
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("poller of %s: %w", cfg.Name, err)
	}
	p := &Poller[T]{asked: make(chan struct{}, 1), info: Info{Name: cfg.Name}}
	cfg.Sink, p.detecting = store.DetectMutations(cfg.Name, cfg.Sink)
	p.cfg = cfg
	return p, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config[T]) complete() error {
	if c.Get == nil {
		return errors.New("Config.Get is nil: give the function that is to be polled")
	}
	if c.Sink == nil {
		return errors.New("Config.Sink is nil: give what is to be told, for example a Store")
	}
	if err := check.Validate(c.Sink); err != nil {
		return fmt.Errorf("Config.Sink: %w", err)
	}
	if c.Key == nil {
		c.Key = store.MetaNamespaceKeyFunc[T]
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"Period", &c.Period, 30 * time.Second},
		{"Timeout", &c.Timeout, 30 * time.Second},
		{"MaxBackoff", &c.MaxBackoff, max(c.Period, time.Minute)},
	} {
		if *d.value < 0 {
			return fmt.Errorf("poller.Config.%s is %v: give a positive duration, or 0 for the default of %v", d.name, *d.value, d.def)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.Jitter != c.Jitter || c.Jitter > 100 {
		return fmt.Errorf("Config.Jitter is %v: give a share of the pause, such as 0.5, or a negative one for none", c.Jitter)
	}
	switch {
	case c.Jitter == 0:
		c.Jitter = 0.1
	case c.Jitter < 0:
		c.Jitter = 0
	}
	return nil
}

// Poll asks for a poll now: a pause after a poll that succeeded is cut short. One
// after a failure is not. Several requests before the poll begins are one; one
// that comes during a poll is for another one after it. It does not block, and may
// be called from anywhere at any time.
func (p *Poller[T]) Poll() {
	select {
	case p.asked <- struct{}{}:
	default: // a request is there
	}
}

// Info says how the Poller is doing. It may be called from anywhere at any time.
func (p *Poller[T]) Info() Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

func (p *Poller[T]) update(change func(*Info)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.info)
}
