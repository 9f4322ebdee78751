// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// wireTask is what a process reads.
type wireTask struct {
	wireLoad
	Contestant  string
	Address     string // of the server
	Subscribers int
	Profiles    string // directory for CPU profiles; empty: there are none
}

// The steps of a process on stdin, one a line. It answers each with a wireResult, which has
// these fields.
const (
	stepBegin    = "begin"    // the process is ready: no fields
	stepSync     = "sync"     // start, and read everything: CPU, PeakRSS, PeakHeap
	stepRetained = "retained" // Retained
	stepReady    = "ready"    // before a round of changes: no fields
	stepChanged  = "changed"  // all subscribers have all changes: CPU, Allocated
	stepRelist   = "relist"   // before the end of the watch: no fields
	stepRelisted = "relisted" // everything was sent again: Growth, Events
	stepCheck    = "check"    // compare the stored objects with the server's: no fields
)

// wireResult is what was measured. Sizes are in bytes.
type wireResult struct {
	Error string // empty: none

	Millis    float64
	CPU       float64 // seconds
	PeakRSS   int64   // above that before the start; 0: the system does not say
	PeakHeap  int64
	Retained  int64
	Allocated int64
	Growth    float64 // percent
	Events    int64
}

// tally counts the events of one subscriber.
type tally struct {
	count, want atomic.Int64
	reached     chan struct{} // has room for one
}

func (t *tally) received() {
	if t.count.Add(1) == t.want.Load() {
		t.reached <- struct{}{}
	}
}

// wireProcess carries out a task step by step.
type wireProcess struct {
	task    wireTask
	reader  wireReader
	tallies []*tally
	running sync.WaitGroup

	ctx    context.Context // ends with the reader
	cancel context.CancelCauseFunc

	before     int64         // heap before the start
	idle       int64         // resident memory before the start
	rounds     int           // announced rounds of changes
	cpu        time.Duration // since a step
	start      time.Time
	allocated  int64
	events     int64
	samples    *heapSamples
	heapBefore int64        // in use, as samples have it
	profiled   func() error // ends the profile of the changes; nil: there is none
}

func newWireProcess(ctx context.Context, t wireTask) (*wireProcess, error) {
	create, ok := wireReaders[t.Contestant]
	if !ok {
		return nil, fmt.Errorf("there is no contestant %q", t.Contestant)
	}
	p := &wireProcess{task: t}
	var subscribers []func()
	for range t.Subscribers {
		t := &tally{reached: make(chan struct{}, 1)}
		p.tallies = append(p.tallies, t)
		subscribers = append(subscribers, t.received)
	}
	var err error
	if p.reader, err = create(t, subscribers); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	p.before = heap()
	return p, nil
}

// stop ends the reader.
func (p *wireProcess) stop() error {
	p.cancel(nil)
	p.running.Wait()
	if p.profiled != nil {
		return p.profiled()
	}
	return nil
}

// expect makes reached wait for this number of further events for each subscriber.
func (p *wireProcess) expect(more int) {
	for _, t := range p.tallies {
		t.want.Store(t.count.Load() + int64(more))
	}
}

func (p *wireProcess) reached() error {
	for _, t := range p.tallies {
		if err := await(p.ctx, t.reached); err != nil {
			return err
		}
	}
	return nil
}

// begin and end measure the CPU time between them.
func (p *wireProcess) begin() { p.start, p.cpu, p.allocated = time.Now(), cpuTime(), allocatedBytes() }

func (p *wireProcess) end(r *wireResult) {
	r.CPU = (cpuTime() - p.cpu).Seconds()
	r.Millis = millis(time.Since(p.start))
	r.Allocated = allocatedBytes() - p.allocated
}

func (p *wireProcess) received() (events int64) {
	for _, t := range p.tallies {
		events += t.count.Load()
	}
	return events
}

// step carries out one step.
func (p *wireProcess) step(what string) (r wireResult, err error) {
	switch what {
	case stepBegin:
	case stepSync:
		profiled, failed := p.task.profile("sync")
		if failed != nil {
			return r, failed
		}
		defer func() { err = errors.Join(err, profiled()) }()
		p.expect(p.task.Objects)
		p.idle = residentBytes()
		samples := sampleHeap()
		defer samples.stop()
		p.begin()
		p.running.Go(func() { p.cancel(p.reader.run(p.ctx)) })
		if err := errors.Join(p.reader.synced(p.ctx), p.reached()); err != nil {
			return r, err
		}
		p.end(&r)
		r.PeakRSS = max(0, peakRSS()-p.idle)
		samples.stop()
		r.PeakHeap = samples.peak
	case stepRetained:
		r.Retained = heap() - p.before
	case stepReady:
		if p.rounds++; p.rounds == 1 {
			if p.profiled, err = p.task.profile("changes"); err != nil {
				return r, err
			}
		}
		p.expect(p.task.Changes)
		p.begin()
	case stepChanged:
		if err := p.reached(); err != nil {
			return r, err
		}
		p.end(&r)
	case stepRelist:
		heap()
		p.events, p.heapBefore = p.received(), heapInUse()
		p.samples = sampleHeap()
	case stepRelisted:
		defer p.samples.stop()
		p.settle()
		p.samples.stop()
		r.Growth = 100 * (float64(p.samples.peak)/float64(p.heapBefore) - 1)
		r.Events = p.received() - p.events
	case stepCheck:
		return r, p.check()
	default:
		return r, fmt.Errorf("there is no step %q", what)
	}
	return r, context.Cause(p.ctx)
}

// settle waits until the process is idle.
func (p *wireProcess) settle() {
	const while = 200 * time.Millisecond
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		cpu := cpuTime()
		time.Sleep(while)
		if cpuTime()-cpu < while/20 {
			return
		}
	}
}

// check compares the stored objects with those of the server.
func (p *wireProcess) check() error {
	stored := p.reader.stored()
	for i := range p.task.Objects {
		rounds := 0
		if i < p.task.Changes {
			rounds = p.rounds
		}
		key, want := wireKey(i), wireVersion(i, p.task.Objects, rounds)
		if got := stored[key]; got != want {
			return fmt.Errorf("%s is stored in version %q, the server has %s", key, got, want)
		}
	}
	if len(stored) != p.task.Objects {
		return fmt.Errorf("%d objects are stored, the server has %d", len(stored), p.task.Objects)
	}
	return nil
}

// allocatedBytes returns the bytes that this process has allocated on the heap so far.
func allocatedBytes() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// readWire is the process of a contestant. The task is the first line of stdin; the
// steps follow. It ends with stdin.
func readWire(_ []string, stdin io.Reader, stdout, _ io.Writer) (err error) {
	var (
		in  = bufio.NewScanner(stdin)
		out = json.NewEncoder(stdout)
		t   wireTask
	)
	if !in.Scan() {
		return errors.Join(errors.New("stdin has no task"), in.Err())
	}
	if err := json.Unmarshal(in.Bytes(), &t); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), tooLong, fmt.Errorf("the task took longer than %s", tooLong))
	defer cancel()
	p, err := newWireProcess(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	steps := make(chan string)
	go func() { // stdin may end at any time
		defer close(steps)
		for in.Scan() {
			select {
			case steps <- in.Text():
			case <-p.ctx.Done():
				return
			}
		}
		p.cancel(errParentGone)
	}()
	for what := range steps {
		r, err := p.step(what)
		if err != nil {
			r.Error = fmt.Sprintf("%s of %d by %s: %s: %v", t.Form, t.Objects, t.Contestant, what, err)
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
