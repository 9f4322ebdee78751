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

// PollerEngine reports the status of objects by reading them in cycles. It has no
// state: any number of Polls can run at the same time. See [Engine] for one that
// watches.
type PollerEngine struct {
	// Reader reads the cluster, for the ClusterReaderFactory. Required, unless the
	// factory works without it.
	Reader Reader

	// Mapper maps a kind to its resource. Required.
	Mapper meta.RESTMapper

	// StatusReaders compute the status of the kinds that they support. The first that
	// supports a kind is used.
	StatusReaders []StatusReader

	// DefaultStatusReader is used for the other kinds. Default: [NewStatusReader] with
	// the rules of kstatus.
	DefaultStatusReader StatusReader

	// ClusterReaderFactory makes the reader that the StatusReaders use. Default:
	// [NewListingReader].
	ClusterReaderFactory ClusterReaderFactory
}

// Options configure a Poll. Set a limit for the whole Poll with its context.
type Options struct {
	// PollInterval is the time between cycles, plus or minus 10%. A slow Sync delays
	// the next cycle, and each failed Sync in a row doubles the time, up to 16 times.
	// An object that is still being read is left out of the cycle. Default: 5s.
	PollInterval time.Duration

	// Concurrency is how many objects of a kind are read at the same time. A kind that
	// takes long to read does not delay other kinds. Default: 8.
	Concurrency int

	// Timeout limits the time to read one object, and the time of Sync. Default: 30s.
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

// Poll reads the objects with the given IDs at once and then in cycles, until ctx ends.
// It does not block. Duplicate IDs count once. An object has a ResourceUpdate after its
// first read, and when its status changes (see [ObjectStatus.Equal]). Synced comes
// once, when each object has had its event. Without IDs the channel has only Synced and
// is closed.
//
// States between two reads are missed: a failed object that is removed before the next
// read is NotFound only. An object that was deleted and created again between two reads
// has a NotFound event first, as its UID shows. Use [Engine.Wait] to judge each state.
//
// An error of an object is reported as its status and ends nothing. If the engine, the
// options or the IDs are invalid, there is an Error and the channel is closed. To stop,
// cancel ctx: the channel is closed without an event, and need not be drained. After
// the cancel function has returned, a receive gets no event, with one exception: an
// event that Poll begins to offer while the cancel function runs.
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

// polled is an object of a Poll.
type polled struct {
	id       ID
	busy     bool         // it is being read
	reported bool         // it has had an event
	last     ObjectStatus // of the last event
}

// answer is the result of reading an object.
type answer struct {
	of     *polled
	status ObjectStatus
}

func (p *polling) close() {
	if closer, ok := p.reader.(io.Closer); ok {
		_ = p.panics.Try("Close of the ClusterReader", store.Key{}, closer.Close) // the Poll has ended: there is no receiver
	}
}

// run goes through the cycles until ctx ends. Objects are read with the context
// reading.
func (p *polling) run(ctx, reading context.Context) {
	answers := make(chan answer, len(p.objects))
	slots := map[schema.GroupKind]chan struct{}{}
	for _, o := range p.objects {
		slots[o.id.GroupKind] = make(chan struct{}, p.opts.Concurrency)
	}
	unreported, failures := len(p.objects), 0
	if unreported == 0 {
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
			first := !a.of.reported
			if !p.report(ctx, a) {
				return
			}
			if first {
				if unreported--; unreported == 0 && !send(ctx, p.events, Event{Type: Synced}) {
					return
				}
			}
		}
	}
}

// wait returns the time to the next cycle after some failures of Sync in a row.
func (p *polling) wait(failures int) time.Duration {
	interval := p.opts.PollInterval * time.Duration(1<<min(failures, 4))
	return time.Duration(float64(interval) * (0.9 + 0.2*rand.Float64()))
}

// cycle starts to read all objects that are not being read. It returns how many times
// in a row Sync has failed.
func (p *polling) cycle(ctx context.Context, answers chan<- answer, slots map[schema.GroupKind]chan struct{}, failures int) int {
	ctx = withRequestTime(ctx) // a missing kind is looked up once for all of its objects
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
	s.ID = id // the object can lack the namespace of the ID
	return s
}

// report sends an event if the status has changed. It returns false when ctx has ended.
func (p *polling) report(ctx context.Context, a answer) bool {
	o, s := a.of, a.status
	if s.Status == Unknown && s.Reason == Transient && o.reported && o.last.Status != Unknown {
		since := o.last.Stale
		if since.IsZero() {
			since = time.Now()
		}
		err := s.Err
		s = o.last
		s.Reason, s.Err, s.Stale = Transient, err, since
	}
	if o.reported && s.Equal(o.last) {
		o.last = s
		return true
	}
	if o.last.Object != nil && s.Object != nil && o.last.uid() != s.uid() { // it was deleted and created again
		gone := ObjectStatus{ID: o.id, Status: NotFound, Message: messageNotFound}
		if !send(ctx, p.events, Event{Type: ResourceUpdate, Resource: gone}) {
			return false
		}
	}
	o.reported, o.last = true, s
	return send(ctx, p.events, Event{Type: ResourceUpdate, Resource: s})
}

// send returns false when ctx has ended. It checks ctx first: a select with both a
// receiver and an ended context takes either.
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
