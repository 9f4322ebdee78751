// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// mirrorTask is what a process does that mirrors a collection.
type mirrorTask struct {
	contestant string
	address    string // of the source
	objects    int    // that it has

	// restart has all of them be recorded from the start.
	restart bool

	// hold stops the handler shortly before the end, to see what is in memory
	// then. Only a holder can do that.
	hold bool
}

// mirrorResult is what was measured. Sizes are in bytes.
type mirrorResult struct {
	Millis   float64 // from the start until in sync
	CPU      float64 // seconds of it that the process took meanwhile
	PeakHeap int64   // HeapInuse, all in all
	PeakRSS  int64   // 0: the system does not say
	Before   int64   // heap after garbage collection, before the start
	Retained int64   // how much more it is at the end

	// Held is how much more there was on the heap, after garbage collection,
	// when a task with hold was stopped than at its end. Otherwise it is 0.
	Held int64

	// Samples is how often the heap was looked at, Gap the longest time between
	// two looks in milliseconds.
	Samples int
	Gap     float64
}

// mirrorRun is a contestant that mirrors.
type mirrorRun interface {
	// run mirrors until ctx ends, or something fails that should not.
	run(ctx context.Context) error

	// synced is closed when everything was acknowledged.
	synced() <-chan struct{}

	// check compares what is recorded, and what happened, with the source.
	check() error
}

// holder is a mirror whose handler can be stopped.
type holder interface {
	// held is closed when the handler was stopped, and all that may be in memory
	// meanwhile is there.
	held() <-chan struct{}

	// release has the handler go on.
	release()
}

// mirrors make the contestants, by name.
var mirrors = map[string]func(cache.ListerWatcher, mirrorTask) (mirrorRun, error){
	nameOurs:     newOurMirror,
	nameClientGo: newReflectorMirror,
	nameStripped: newReflectorMirror,
}

// do carries the task out.
func (t mirrorTask) do(ctx context.Context) (mirrorResult, error) {
	var result mirrorResult
	create, ok := mirrors[t.contestant]
	if !ok {
		return result, fmt.Errorf("there is no contestant %q", t.contestant)
	}
	lw, err := podsAt(t.address)
	if err != nil {
		return result, err
	}
	m, err := create(lw, t)
	if err != nil {
		return result, err
	}
	if _, ok := m.(holder); t.hold && !ok {
		return result, errors.New("its handler cannot be stopped")
	}
	result.Before = heap()
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)

	samples := sampleHeap()
	defer samples.stop()
	start, cpu := time.Now(), cpuTime()
	running.Go(func() { cancel(m.run(ctx)) })
	var held int64
	if t.hold {
		h := m.(holder)
		if err := await(ctx, h.held()); err != nil {
			return result, err
		}
		held = heap()
		h.release()
	}
	if err := await(ctx, m.synced()); err != nil {
		return result, err
	}
	result.Millis = millis(time.Since(start))
	result.CPU = (cpuTime() - cpu).Seconds()
	samples.stop()
	result.PeakHeap, result.Samples, result.Gap = samples.peak, samples.count, millis(samples.gap)
	result.PeakRSS = peakRSS()
	after := heap()
	result.Retained = after - result.Before
	if t.hold {
		result.Held = held - after
	}
	return result, m.check()
}

func await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// podsAt returns what lists and watches the pods of a source in protobuf, as fast
// as it can.
func podsAt(address string) (cache.ListerWatcher, error) {
	return wireTask{wireLoad: wireLoad{Form: wireProtobuf}, Address: address}.listWatch()
}

var errParentGone = errors.New("who started this process is gone")

// mirrorPods is the process of a contestant. It prints a mirrorResult as a line of
// JSON, and gives up when stdin ends.
func mirrorPods(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var t mirrorTask
	flags := flag.NewFlagSet(commandMirror, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&t.contestant, "contestant", nameOurs, "`name` of who mirrors")
	flags.StringVar(&t.address, "address", "", "`URL` of what "+commandServe+" serves")
	flags.IntVar(&t.objects, "objects", 0, "`number` of objects that it serves")
	flags.BoolVar(&t.restart, "restart", false, "begin with everything recorded")
	flags.BoolVar(&t.hold, "hold", false, "look at the memory while the handler is stopped")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if t.objects < 1 {
		return fmt.Errorf("%s: -objects must be above zero", commandMirror)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel(errParentGone)
	}()
	result, err := t.do(ctx)
	if err != nil {
		return fmt.Errorf("%s of %d pods by %s: %w", commandMirror, t.objects, t.contestant, err)
	}
	return json.NewEncoder(stdout).Encode(result)
}
