// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// PollerEngine tells the status of objects by reading them again and again. It has no
// state: any number of Polls may run at once. For one that watches see [Engine].
type PollerEngine struct {
	// Reader reads the cluster, for the ClusterReaderFactory. Required unless the
	// factory does without.
	Reader Reader

	// Mapper says what a kind is served as. Required.
	Mapper meta.RESTMapper

	// StatusReaders tell the status of the kinds that they support; the first one
	// counts.
	StatusReaders []StatusReader

	// DefaultStatusReader is for the other kinds. Default: [NewStatusReader] with the
	// rules of kstatus.
	DefaultStatusReader StatusReader

	// ClusterReaderFactory makes what the StatusReaders read by. Default:
	// [NewListingReader].
	ClusterReaderFactory ClusterReaderFactory
}

// Options are those of a Poll. A timeout for all of it is one of the context.
type Options struct {
	// PollInterval is the time from the beginning of a cycle to the next, give or
	// take a tenth. A cycle that takes longer delays the next; an object that takes
	// longer is left out of it. Default 5 s.
	PollInterval time.Duration

	// Concurrency is how many objects of a kind are read at once. A kind of which
	// reading takes long does not delay the others. Default 8.
	Concurrency int

	// Timeout is how long reading one object, and Sync, may take. Default 30 s.
	Timeout time.Duration
}

func (o *Options) complete() error {
	switch {
	case o.PollInterval < 0:
		return fmt.Errorf("Options.PollInterval is %v: give a positive duration, or 0 for 5 s", o.PollInterval)
	case o.Concurrency < 0:
		return fmt.Errorf("Options.Concurrency is %d: give a positive number, or 0 for 8", o.Concurrency)
	case o.Timeout < 0:
		return fmt.Errorf("Options.Timeout is %v: give a positive duration, or 0 for 30 s", o.Timeout)
	}
	if o.PollInterval == 0 {
		o.PollInterval = 5 * time.Second
	}
	if o.Concurrency == 0 {
		o.Concurrency = 8
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return nil
}

// Poll reads the objects with the given IDs at once, and then again and again, until
// ctx ends. It does not block. IDs given twice count once. There is a ResourceUpdate
// for an object when it was first read, and when its status is another one (see
// [ObjectStatus.Equal]); and one Synced when all were told. If there are no IDs, the
// channel has a Synced and is closed.
//
// What goes wrong with an object is told as its status, and does not end anything. If
// the engine, the options or the IDs make no sense, there is an Error, and the channel
// is closed. It is closed without an event when ctx ends; who wants no more cancels
// ctx, and need not read on. After the cancel function has returned, a receive gets no
// event, with the exception that Events of a resource has.
func (e *PollerEngine) Poll(ctx context.Context, ids []ID, opts Options) <-chan Event {
	events := make(chan Event)
	go func() {
		defer close(events)
		if err := e.poll(ctx, ids, opts, events); err != nil {
			send(ctx, events, Event{Type: Error, Err: fmt.Errorf("status.PollerEngine: %w", err)})
		}
	}()
	return events
}

func (e *PollerEngine) poll(ctx context.Context, ids []ID, opts Options, events chan<- Event) error {
	if err := errors.Join(opts.complete(), validate(ids)); err != nil {
		return err
	}
	if e.Mapper == nil {
		return errors.New("the Mapper is nil: give one")
	}
	p := &polling{engine: e, opts: opts, events: events, fallback: e.DefaultStatusReader, panics: usercode.New("status", nil)}
	if p.fallback == nil {
		p.fallback = NewStatusReader(e.Mapper, nil)
	}
	for _, id := range ids {
		if !slices.ContainsFunc(p.objects, func(o *polled) bool { return o.id == id }) {
			p.objects = append(p.objects, &polled{id: id})
		}
	}
	factory := e.ClusterReaderFactory
	if factory == nil {
		factory = ClusterReaderFactoryFunc(NewListingReader)
	}
	err := p.panics.Try("New of the ClusterReaderFactory", store.Key{}, func() (err error) {
		p.reader, err = factory.New(e.Reader, e.Mapper, ids)
		return err
	})
	if err != nil {
		return fmt.Errorf("making the ClusterReader: %w", err)
	}
	reading, cancel := context.WithCancel(ctx)
	defer p.close()
	defer p.running.Wait()
	defer cancel()
	p.run(ctx, reading)
	return nil
}

// polling is one Poll.
type polling struct {
	engine   *PollerEngine
	opts     Options
	reader   ClusterReader
	fallback StatusReader
	panics   *usercode.Panics
	events   chan<- Event
	objects  []*polled
	running  sync.WaitGroup
}

// polled is an object that is polled.
type polled struct {
	id   ID
	busy bool         // it is being read
	told bool         // anything was told
	last ObjectStatus // that was told
}

// answer is what reading an object gave.
type answer struct {
	of     *polled
	status ObjectStatus
}

func (p *polling) close() {
	if closer, ok := p.reader.(io.Closer); ok {
		_ = p.panics.Try("Close of the ClusterReader", store.Key{}, closer.Close) // nobody is left to tell
	}
}

// run goes through the cycles until ctx ends. Objects are read with the context reading.
func (p *polling) run(ctx, reading context.Context) {
	answers := make(chan answer, len(p.objects))
	slots := map[schema.GroupKind]chan struct{}{}
	for _, o := range p.objects {
		slots[o.id.GroupKind] = make(chan struct{}, p.opts.Concurrency)
	}
	untold, failures := len(p.objects), 0
	if untold == 0 {
		send(ctx, p.events, Event{Type: Synced})
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			failures = p.cycle(reading, answers, slots, failures)
			timer.Reset(p.wait(failures))
		case a := <-answers:
			a.of.busy = false
			first := !a.of.told
			if !p.tell(ctx, a) {
				return
			}
			if first {
				if untold--; untold == 0 && !send(ctx, p.events, Event{Type: Synced}) {
					return
				}
			}
		}
	}
}

// wait is the time to the next cycle.
func (p *polling) wait(failures int) time.Duration {
	interval := p.opts.PollInterval * time.Duration(1<<min(failures, 4))
	return time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64()))
}

// cycle has all objects read that are not being read. It returns how many times in a
// row Sync has failed.
func (p *polling) cycle(ctx context.Context, answers chan<- answer, slots map[schema.GroupKind]chan struct{}, failures int) int {
	ctx = asking(ctx) // a kind that is missing is looked up once for all of its objects
	err := p.panics.Try("Sync of the ClusterReader", store.Key{}, func() error {
		ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
		defer cancel()
		return p.reader.Sync(ctx)
	})
	for _, o := range p.objects {
		if o.busy {
			continue
		}
		o.busy = true
		if err != nil {
			answers <- answer{o, failure(o.id, fmt.Errorf("Sync of the ClusterReader: %w", err))}
			continue
		}
		slot := slots[o.id.GroupKind]
		p.running.Go(func() {
			select {
			case slot <- struct{}{}:
				s := p.read(ctx, o.id)
				<-slot
				answers <- answer{o, s}
			case <-ctx.Done():
			}
		})
	}
	if err != nil {
		return failures + 1
	}
	return 0
}

// read reads one object.
func (p *polling) read(ctx context.Context, id ID) (s ObjectStatus) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	err := p.panics.Try("StatusReader", id.Key(), func() (err error) {
		reader := p.fallback
		for _, r := range p.engine.StatusReaders {
			if r.Supports(id.GroupKind) {
				reader = r
				break
			}
		}
		s, err = reader.ReadStatus(ctx, p.reader, id)
		return err
	})
	if errors.As(err, new(*store.PanicError)) {
		return ObjectStatus{ID: id, Status: Unknown, Reason: RuleError, Err: err}
	}
	if err != nil {
		return failure(id, err)
	}
	s.ID = id // it may have been found without its namespace
	return s
}

// tell sends an event if there is news. It returns false when ctx has ended.
func (p *polling) tell(ctx context.Context, a answer) bool {
	o, s := a.of, a.status
	if s.Status == Unknown && s.Reason == Transient && o.told && o.last.Status != Unknown {
		since := o.last.Stale
		if since.IsZero() {
			since = time.Now()
		}
		err := s.Err
		s = o.last
		s.Reason, s.Err, s.Stale = Transient, err, since
	}
	if o.told && s.Equal(o.last) {
		o.last = s
		return true
	}
	o.told, o.last = true, s
	return send(ctx, p.events, Event{Type: ResourceUpdate, Resource: s})
}

// send returns false when ctx has ended. It looks at ctx first: a select that finds
// both a receiver and the end takes either one.
func send(ctx context.Context, events chan<- Event, ev Event) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case events <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}
