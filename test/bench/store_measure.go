// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// work does the operations from, from+1, … below to.
type work func(from, to int) error

// pace describes how work is repeated for a slice of time.
type pace struct {
	all        int           // number of operations; after the last, the first follows
	chunk      int           // operations at a time; it divides all
	goroutines int           // number of concurrent goroutines
	during     time.Duration // minimum; the last chunk is completed
}

// speed is the result of a slice of time.
type speed struct {
	rate      float64 // operations per second of all goroutines
	allocated float64 // allocations per operation
}

func (s speed) nanos() float64 { return 1e9 / s.rate }

// slice repeats w. Goroutines begin at different operations.
func (p pace) slice(w work) (speed, error) {
	type result struct {
		done  int
		until time.Time
		err   error
	}
	var (
		results       = make([]result, p.goroutines)
		wait          sync.WaitGroup
		before, after runtime.MemStats
	)
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := time.Now()
	for g := range results {
		wait.Go(func() {
			var r result
			next := p.all / p.chunk * g / p.goroutines * p.chunk
			for more := true; more; more = r.until.Sub(start) < p.during && r.err == nil {
				r.err = w(next, next+p.chunk)
				next = (next + p.chunk) % p.all
				r.done += p.chunk
				r.until = time.Now()
			}
			results[g] = r
		})
	}
	wait.Wait()
	runtime.ReadMemStats(&after)
	var s speed
	var errs []error
	done := 0
	for _, r := range results {
		s.rate += float64(r.done) / r.until.Sub(start).Seconds()
		done += r.done
		errs = append(errs, r.err)
	}
	s.allocated = float64(after.Mallocs-before.Mallocs) / float64(done)
	return s, errors.Join(errs...)
}

// turns repeats each of works for this number of slices, in turns, so that a disturbance
// affects all of them. It returns the best slice of each.
func turns(times int, works []func() (speed, error)) ([]speed, error) {
	best := make([]speed, len(works))
	for turn := range times {
		for i, w := range works {
			s, err := w()
			if err != nil {
				return nil, err
			}
			if turn == 0 {
				best[i] = s
			}
			best[i].rate = max(best[i].rate, s.rate)
			best[i].allocated = min(best[i].allocated, s.allocated)
		}
	}
	return best, nil
}

// longestWait returns the longest time that a reader waits for one read during write.
func longestWait(read work, all int, write func() error) (time.Duration, error) {
	var (
		longest time.Duration
		err     error
		stop    atomic.Bool
		reader  sync.WaitGroup
		reading = make(chan struct{})
	)
	reader.Go(func() {
		err = read(0, 1)
		close(reading)
		last := time.Now()
		for i := 1; err == nil && !stop.Load(); i++ {
			err = read(i%all, i%all+1)
			now := time.Now()
			longest = max(longest, now.Sub(last))
			last = now
		}
	})
	<-reading
	wrote := write()
	stop.Store(true)
	reader.Wait()
	return longest, errors.Join(err, wrote)
}

// crowded is the result of one writer and many readers.
type crowded struct {
	write time.Duration // mean
	reads float64       // per second, of all readers
}

// amongReaders calls write in a loop for some time, while readers call read in loops.
func amongReaders(readers int, during time.Duration, read func() error, write func(i int) error) (crowded, error) {
	var (
		stop          atomic.Bool
		reads         atomic.Int64
		begun, ending sync.WaitGroup
		errs          = make([]error, readers)
	)
	runtime.GC()
	for r := range readers {
		begun.Add(1)
		ending.Go(func() {
			errs[r] = read()
			begun.Done()
			for errs[r] == nil && !stop.Load() {
				errs[r] = read()
				reads.Add(1)
			}
		})
	}
	begun.Wait()
	reads.Store(0)
	start := time.Now()
	var (
		took time.Duration
		n    int
		err  error
	)
	for ; took < during && err == nil; n++ {
		err = write(n)
		took = time.Since(start)
	}
	c := crowded{write: took / time.Duration(n), reads: float64(reads.Load()) / took.Seconds()}
	stop.Store(true)
	ending.Wait()
	return c, errors.Join(append(slices.Clone(errs), err)...)
}
