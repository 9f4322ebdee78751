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

// mirrorTask is the task of a process that mirrors a collection.
type mirrorTask struct {
	contestant string
	address    string // of the source
	objects    int    // that it has

	// restart makes the storage contain all objects from the start.
	restart bool

	// hold stops the handler shortly before the end, to measure the memory then. The
	// contestant must be a holder.
	hold bool
}

// mirrorResult holds the results. Sizes are in bytes.
type mirrorResult struct {
	Millis   float64 // from the start until in sync
	CPU      float64 // seconds of CPU until in sync
	PeakHeap int64   // HeapInuse of the whole process
	PeakRSS  int64   // 0: unknown
	Before   int64   // heap after garbage collection, before the start
	Retained int64   // growth of that heap at the end

	// Held is the heap after garbage collection while the handler is stopped, minus the
	// heap at the end. It is 0 without hold.
	Held int64

	// Samples is the number of samples of the heap. Gap is the longest time between two
	// samples, in milliseconds.
	Samples int
	Gap     float64
}

// mirrorRun is a contestant that mirrors.
type mirrorRun interface {
	// run mirrors until ctx ends, or until an unexpected error.
	run(ctx context.Context) error

	// synced is closed when all objects are acknowledged.
	synced() <-chan struct{}

	// check compares the recorded versions, and the calls of the handler, with the source.
	check() error
}

// holder is a mirror whose handler can be stopped.
type holder interface {
	// held is closed when the handler is stopped and the maximum of pending objects is in
	// memory.
	held() <-chan struct{}

	// release lets the handler continue.
	release()
}

// mirrors create the contestants, by name.
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

// podsAt returns a client of the pods of a source, with protobuf and without limits.
func podsAt(address string) (cache.ListerWatcher, error) {
	return wireTask{wireLoad: wireLoad{Form: wireProtobuf}, Address: address}.listWatch()
}

var errParentGone = errors.New("the parent of this process has exited")

// mirrorPods is the process of a contestant. It prints a mirrorResult as a line of JSON,
// and fails when stdin ends.
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
