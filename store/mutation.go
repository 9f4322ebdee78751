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

// Sharing is an optional interface of a [Sink] with several readers, which must not modify
// the objects. A [Store] and the sink of a [fifo.FIFO] implement it.
type Sharing interface {
	// SharesObjects returns true if the sink shares its objects. It is called once, before
	// any other method.
	SharesObjects() bool
}

// IsSharing returns true if a sink implements [Sharing] and shares its objects.
func IsSharing[T any](sink Sink[T]) bool {
	s, ok := sink.(Sharing)
	return ok && s.SharesObjects()
}

// DetectMutations detects modified objects of a sink that is [Sharing], in a process that
// was started with KUBE_CACHE_MUTATION_DETECTOR=true. It is for sources, such as
// informer.Reflector and poller.Poller. The source calls watched instead of sink, within
// the function run that it passes to during. In other processes, and for other sinks,
// watched is sink, and during only calls run.
//
// Like client-go's cache.MutationDetector:
//
//   - It copies each object that it gets, including the last states of deleted objects. It
//     skips values that are no runtime.Object, and objects that differ from their own copy,
//     such as those with a NaN or with an int in unstructured content.
//   - It compares each object with its copy once a second, for two minutes after the last
//     call with the object. Both stay in memory for this time. Unlike that of client-go, it
//     compares again when run has returned, so it works in short tests. It also ignores the
//     cached text of a resource.Quantity.
//   - If objects differ, it panics with "cache name modified" and the differences of up to
//     ten objects. The race detector, or the difference, can show the code that did it.
func DetectMutations[T any](name string, sink Sink[T]) (watched Sink[T], during func(run func())) {
	if !detectMutations || !IsSharing(sink) {
		return sink, func(run func()) { run() }
	}
	d := newMutationDetector(name, func(message string) { panic(message) })
	return watchedSink[T]{Sink: sink, detector: d}, d.during
}

// detectMutations is read when the process starts, as in client-go.
var detectMutations, _ = strconv.ParseBool(os.Getenv("KUBE_CACHE_MUTATION_DETECTOR"))

// watchedSink passes objects to a detector before the sink gets them.
type watchedSink[T any] struct {
	Sink[T]
	detector *mutationDetector
}

// SharesObjects implements [Sharing]. Only such sinks are watched.
func (s watchedSink[T]) SharesObjects() bool { return true }

// Validate returns the error of the construction of the sink.
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
	copies []*copied // in the order of the first calls
	by     map[runtime.Object]*copied
}

// copied is an object and its copy.
type copied struct {
	meta     Meta
	obj, was runtime.Object
	key      runtime.Object // obj, nil if that is no pointer
	seen     time.Time      // last call with it; guarded by mu of the detector
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
	c := &copied{meta: meta, obj: o, was: was, key: key, seen: time.Now()}
	d.copies = append(d.copies, c)
	if key != nil {
		d.by[key] = c
	}
}

// again returns true if an object is watched already. It then updates its time.
func (d *mutationDetector) again(o runtime.Object) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.by[o]
	if c != nil {
		c.seen = time.Now()
	}
	return c != nil
}

// during compares the objects on its own goroutine until run returns.
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

// look compares all objects, and drops old ones.
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
		d.failed(fmt.Sprintf("cache %s modified: objects are shared and must not be modified; modify a copy: %s", d.name, differ.String()))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copies = slices.DeleteFunc(d.copies, func(c *copied) bool {
		old := time.Since(c.seen) > mutationRetain
		if old {
			delete(d.by, c.key)
		}
		return old
	})
}
