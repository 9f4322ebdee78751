// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/internal/check"
)

// Sharing may be implemented by a [Sink] whose objects many may read, so that nobody
// may modify them. A [Store] does, and the sink of a [fifo.FIFO].
type Sharing interface {
	// SharesObjects reports whether it is so. It is asked once, before any other call.
	SharesObjects() bool
}

// IsSharing reports whether a sink implements [Sharing] and says so.
func IsSharing[T any](sink Sink[T]) bool {
	s, ok := sink.(Sharing)
	return ok && s.SharesObjects()
}

// DetectMutations is for who drives a sink, as a [poller.Poller] does and informer.Reflector:
// in a process that was started with KUBE_CACHE_MUTATION_DETECTOR=true in its
// environment it finds out whether somebody modifies objects of a sink that is
// [Sharing]. Call watched instead of sink, and do so within run, which is given to
// during. In any other process, and of any other sink, watched is sink itself, and
// during only calls run.
//
// As in client-go's cache.MutationDetector
//
//   - what is no runtime.Object is not looked at, and neither is what has no copy that
//     is equal to it, as an object has none that was made by hand of an int, or of a NaN;
//   - each object is copied when it is told, also as the last state of one that is
//     deleted, and compared with the copy as by reflect.DeepEqual once a second, and again
//     when run has returned, which that of client-go does not and which is all there
//     is to a short test, for two minutes from when it was last told. Both are in memory
//     for as long. The text that a resource.Quantity keeps once it was asked for it, which
//     that of client-go takes for a modification, is none;
//   - an object that differs ends the process by a panic that says "cache name
//     modified", with the object and the difference, and so with up to ten. Who did it is
//     for the race detector to say, or for the difference.
func DetectMutations[T any](name string, sink Sink[T]) (watched Sink[T], during func(run func())) {
	if !detectMutations || !IsSharing(sink) {
		return sink, func(run func()) { run() }
	}
	d := newMutationDetector(name, func(message string) { panic(message) })
	return watchedSink[T]{Sink: sink, detector: d}, d.during
}

// It is read when the process starts, as by client-go.
var detectMutations, _ = strconv.ParseBool(os.Getenv("KUBE_CACHE_MUTATION_DETECTOR"))

// watchedSink shows objects to a detector before anybody else sees them.
type watchedSink[T any] struct {
	Sink[T]
	detector *mutationDetector
}

// SharesObjects implements [Sharing]: no other sink is watched.
func (s watchedSink[T]) SharesObjects() bool { return true }

// Validate reports how the sink was made wrongly.
func (s watchedSink[T]) Validate() error { return check.Validate(s.Sink) }

// Apply implements [Sink].
func (s watchedSink[T]) Apply(ctx context.Context, meta Meta, obj T) error {
	s.detector.add(meta, obj)
	return s.Sink.Apply(ctx, meta, obj)
}

// Keep implements [Keeper], if the sink does.
func (s watchedSink[T]) Keep(ctx context.Context, meta Meta) error { return Keep(ctx, s.Sink, meta) }

// Delete implements [Sink].
func (s watchedSink[T]) Delete(ctx context.Context, meta Meta, last T, known bool) error {
	if known {
		s.detector.add(meta, last)
	}
	return s.Sink.Delete(ctx, meta, last, known)
}

const (
	mutationPeriod = time.Second
	mutationRetain = 2 * time.Minute
	mutationsShown = 10
)

// mutationDetector compares objects with copies of them.
type mutationDetector struct {
	name   string
	failed func(message string)

	mu     sync.Mutex
	copies []*copied // in the order in which objects were first told
	by     map[runtime.Object]*copied
}

// copied is an object and what it was.
type copied struct {
	meta     Meta
	obj, was runtime.Object
	key      runtime.Object // obj, nil if that is no pointer
	told     time.Time      // last; of the detector's mu
}

func newMutationDetector(name string, failed func(message string)) *mutationDetector {
	return &mutationDetector{name: name, failed: failed, by: map[runtime.Object]*copied{}}
}

func (d *mutationDetector) add(meta Meta, obj any) {
	o, ok := obj.(runtime.Object)
	if !ok {
		return
	}
	var key runtime.Object
	if v := reflect.ValueOf(o); v.Kind() == reflect.Pointer {
		if v.IsNil() || d.again(o) {
			return
		}
		key = o
	}
	was := copyOf(o)
	if was == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &copied{meta: meta, obj: o, was: was, key: key, told: time.Now()}
	d.copies = append(d.copies, c)
	if key != nil {
		d.by[key] = c
	}
}

// again reports whether an object is looked at already, and if so notes that it was told.
func (d *mutationDetector) again(o runtime.Object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.by[o]
	if c != nil {
		c.told = time.Now()
	}
	return c != nil
}

// during looks at objects as long as run runs, from a goroutine of its own.
func (d *mutationDetector) during(run func()) {
	ended := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(ended)
	wg.Go(func() {
		ticker := time.NewTicker(mutationPeriod)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.look()
			case <-ended:
				d.look()
				return
			}
		}
	})
	run()
}

// look compares, and lets go of what is old.
func (d *mutationDetector) look() {
	d.mu.Lock()
	copies := slices.Clone(d.copies)
	d.mu.Unlock()
	var differ strings.Builder
	found := 0
	for _, c := range copies {
		if unmodified(c.obj, c.was) {
			continue
		}
		if found++; found <= mutationsShown {
			fmt.Fprintf(&differ, "\n%s, as it was and as it is now:\n%s", c.meta, differences(c.was, c.obj))
		}
	}
	if found > mutationsShown {
		fmt.Fprintf(&differ, "\nand %d more", found-mutationsShown)
	}
	if found > 0 {
		d.failed(fmt.Sprintf("cache %s modified: objects are shared and must not be modified, but copies of them: %s", d.name, differ.String()))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copies = slices.DeleteFunc(d.copies, func(c *copied) bool {
		old := time.Since(c.told) > mutationRetain
		if old {
			delete(d.by, c.key)
		}
		return old
	})
}
