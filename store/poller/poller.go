// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package poller drives a [store.Sink] by polling. It is for collections that cannot be
// watched: it gets the whole state of the collection periodically, and the sink receives
// the changes.
//
//	certificates, err := store.New(store.Config[Certificate]{})
//	...
//	p, err := poller.New(poller.Config[Certificate]{
//		Name:   "certificates",
//		Key:    certificateKey,
//		Sink:   certificates,
//		Period: time.Minute,
//		Get: func(ctx context.Context) (poller.Enumerator[Certificate], error) {
//			all, etag, err := client.Certificates(ctx)
//			return poller.Enumerate(etag, all), err
//		},
//	})
//	...
//	err = p.Run(ctx)
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

// GetFunc gets the current state of a collection. It should return when ctx ends, and so
// should its iterator: the Poller waits for both. The goroutine of [Poller.Run] calls
// them, one call at a time.
type GetFunc[T any] func(ctx context.Context) (Enumerator[T], error)

// Enumerator is one state of a collection.
type Enumerator[T any] struct {
	// Version is the version of the state, such as a resource version or an ETag.
	// States with equal versions must be equal. Empty if there is no version.
	Version string

	// Objects yields each object once, with a nil error. An error fails the poll;
	// missing objects are then not deleted. The iterator runs at most once. It does
	// not run, and can be nil, if Version is the version of the sink: see
	// [Info.Version].
	//
	// The sink takes over the objects.
	Objects iter.Seq2[T, error]
}

// Enumerate returns an Enumerator of objs.
func Enumerate[T any](version string, objs []T) Enumerator[T] {
	return Enumerator[T]{Version: version, Objects: func(yield func(T, error) bool) {
		for _, obj := range objs {
			if !yield(obj, nil) {
				return
			}
		}
	}}
}

// Config configures a [Poller]. Get and Sink are required.
type Config[T any] struct {
	// Name appears in errors. Default: the name of T.
	Name string

	// Get returns the state of the collection.
	Get GetFunc[T]

	// Key returns the key of an object. Default: [store.MetaNamespaceKeyFunc].
	Key store.KeyFunc[T]

	// Sink receives the changes, for example a [store.Store] or the sink of a
	// [fifo.FIFO].
	Sink store.Sink[T]

	// Period is the pause between polls, from the end of one to the start of the
	// next. Default: 30s.
	Period time.Duration

	// Jitter extends each pause by a random fraction of it, up to this value, so that
	// Pollers do not run simultaneously. Negative: none. Default: 0.1.
	Jitter float64

	// Timeout bounds each poll: the call of Get and its iterator, with the time that
	// the sink needs to apply the objects. A poll that takes longer has failed, even
	// if Get ignores its ctx. Default: 30s.
	Timeout time.Duration

	// MaxBackoff is the maximum pause after a failure, before jitter. The first pause
	// is 1s, or Period if that is shorter. Each further failure doubles it. A longer
	// Retry-After of the server takes precedence. Default: 1 minute, or Period if that
	// is longer.
	MaxBackoff time.Duration

	// OnError is called for each failure, before the pause. The goroutine of
	// [Poller.Run] calls it with no lock held. Default: failures are only in [Info].
	OnError func(error)
}

// Info is the state of a [Poller]. Counters start at its construction.
type Info struct {
	Name string

	// Version is the version of the last state that the sink accepted. It is empty
	// from the start of a pass until the sink has accepted the pass or a later one,
	// because the sink can have parts of another state meanwhile. Objects is the
	// number of objects in the last accepted state.
	Version string
	Objects int

	// Polls counts calls of Get. Each completed poll is counted once more: in Passes
	// if the sink accepted a pass, in Unchanged if the sink had the version already,
	// in Failures, or in Refused if the sink requested another pass or a pause. A poll
	// that Run's end interrupted is counted in Polls only.
	Polls, Passes, Unchanged, Failures, Refused uint64

	// Success is the end of the last poll that is counted in Passes or Unchanged: the
	// last time at which the sink was known to be correct. Zero if there was none.
	Success time.Time

	// Err is the last failure. It is nil if a later poll succeeded.
	Err error
}

// Poller updates a sink from the states that a function returns, for collections that
// cannot be watched. Each poll is a pass of the [store.Sink]: the sink deletes missing
// objects at the end of the pass, and deletes none if the poll fails.
//
//   - The first poll starts at once, each next one Period after the end of the previous.
//   - If the sink has the version of the state, it gets no calls. Otherwise, Holds is
//     called for each object, and unchanged objects are not applied. An object without a
//     resource version gets [store.ContentVersion] as its version. Changes that are not
//     in its JSON are then not seen.
//   - A poll fails if Get or the sink returns an error, if it takes longer than Timeout,
//     if an object has no key, or if two objects have the same key. A failed poll
//     deletes nothing. The next poll follows after a backoff.
//   - [store.ErrResync] and [store.FullError] of the sink are not failures. The next poll
//     starts at once, or when Drained of the FullError is closed, and is a pass. If the
//     sink returns such an error again, the next poll also waits for the backoff.
//
// A sink that holds no objects, such as that of a [fifo.FIFO], receives all objects in
// each poll, except in polls that return the version of the last state.
type Poller[T any] struct {
	cfg       Config[T]
	requested chan struct{}
	started   atomic.Bool
	detecting func(run func()) // of DetectMutations

	mu   sync.Mutex
	info Info
}

// New returns a Poller, which does nothing until Run. It returns an error if Get or Sink
// is nil, or if a setting is invalid.
func New[T any](cfg Config[T]) (*Poller[T], error) {
	if cfg.Name == "" {
		cfg.Name = reflect.TypeFor[T]().String()
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("poller of %s: %w", cfg.Name, err)
	}
	p := &Poller[T]{requested: make(chan struct{}, 1), info: Info{Name: cfg.Name}}
	cfg.Sink, p.detecting = store.DetectMutations(cfg.Name, cfg.Sink)
	p.cfg = cfg
	return p, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config[T]) complete() error {
	if c.Get == nil {
		return errors.New("Config.Get is nil: set the function that gets the state")
	}
	if c.Sink == nil {
		return errors.New("Config.Sink is nil: set the sink, for example a Store")
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
			return fmt.Errorf("poller.Config.%s is %v: set a positive duration, or 0 for the default of %v", d.name, *d.value, d.def)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if c.Jitter != c.Jitter || c.Jitter > 100 {
		return fmt.Errorf("Config.Jitter is %v: set a fraction of the pause, such as 0.5, or a negative value for none", c.Jitter)
	}
	switch {
	case c.Jitter == 0:
		c.Jitter = 0.1
	case c.Jitter < 0:
		c.Jitter = 0
	}
	return nil
}

// Poll requests a poll now. It ends the pause after a successful poll, but not the pause
// after a failure or a refusal. Requests before the start of a poll are merged; a request
// during a poll causes another poll after it. Poll does not block, and can be called from
// any goroutine, at any time.
func (p *Poller[T]) Poll() {
	select {
	case p.requested <- struct{}{}:
	default: // there is a request already
	}
}

// Info returns the state of the Poller. It can be called from any goroutine, at any time.
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
