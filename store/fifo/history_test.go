// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// fifoHistory is what consumers saw.
type fifoHistory struct {
	t *testing.T
	f *fifo.FIFO[storetest.Job]

	mu     sync.Mutex
	leased map[string]bool
	last   map[string]int // the last state that was handed out, and processed
	popped int
}

// consume pops until the queue is drained. Some of its Pops end early.
func (h *fifoHistory) consume(rng *rand.Rand) {
	for {
		l, err := h.pop(rng)
		switch {
		case errors.Is(err, fifo.ErrClosed):
			return
		case err == nil:
			h.process(rng, l)
		case !errors.Is(err, context.Canceled):
			h.t.Error(err)
		}
	}
}

func (h *fifoHistory) pop(rng *rand.Rand) (fifo.Lease[storetest.Job], error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	if rng.IntN(2) == 0 {
		yields := rng.IntN(4)
		var ending sync.WaitGroup
		defer ending.Wait()
		ending.Go(func() {
			for range yields {
				runtime.Gosched()
			}
			cancel()
		})
	}
	return h.f.Pop(ctx)
}

func (h *fifoHistory) process(rng *rand.Rand, l fifo.Lease[storetest.Job]) {
	h.took(l)
	if rng.IntN(4) == 0 {
		runtime.Gosched()
	}
	retry := rng.IntN(4) == 0
	h.gives(l, !retry)
	if retry {
		l.Retry(time.Duration(rng.IntN(50)-10) * time.Microsecond)
	} else {
		l.Done()
	}
	if rng.IntN(8) == 0 { // once more
		l.Done()
		l.Retry(0)
	}
}

func (h *fifoHistory) took(l fifo.Lease[storetest.Job]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name, n := l.Key().Name, l.Object().N
	if h.leased[name] {
		h.t.Errorf("%s is leased twice", name)
	}
	if n < h.last[name] {
		h.t.Errorf("%s: %d after %d", name, n, h.last[name])
	}
	h.leased[name] = true
	h.popped++
}

func (h *fifoHistory) gives(l fifo.Lease[storetest.Job], done bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leased[l.Key().Name] = false
	if done {
		h.last[l.Key().Name] = l.Object().N
	}
}

// produce adds states of keys that are its own, and returns the last one of each
// that it did not delete.
func (h *fifoHistory) produce(rng *rand.Rand, producer, adds int) map[string]int {
	last := map[string]int{}
	for n := range adds {
		j := storetest.NewJob(fmt.Sprint(producer, "-", rng.IntN(6)), n+1)
		if rng.IntN(8) == 0 {
			if err := h.f.Delete(j); err != nil {
				h.t.Error(err)
			}
			delete(last, j.Name)
			continue
		}
		if err := h.f.Add(j); err != nil {
			h.t.Error(err)
		}
		last[j.Name] = j.N
	}
	return last
}

// TestFIFOHistory has many producers and consumers at a time.
func TestFIFOHistory(t *testing.T) {
	const producers, consumers, adds = 4, 4, 300
	f := newFIFO(t)
	h := &fifoHistory{t: t, f: f, leased: map[string]bool{}, last: map[string]int{}}
	var producing, consuming sync.WaitGroup
	wants := make([]map[string]int, producers)
	for i := range producers {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 1))
		producing.Go(func() { wants[i] = h.produce(rng, i, adds) })
	}
	for range consumers {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 2))
		consuming.Go(func() { h.consume(rng) })
	}
	producing.Wait()
	f.Close()
	consuming.Wait()

	for _, want := range wants {
		for name, n := range want {
			if h.last[name] != n {
				t.Errorf("%s: processed %d last, want %d", name, h.last[name], n)
			}
		}
	}
	s := f.Stats()
	if s.Queued != 0 || s.Leased != 0 || s.Delayed != 0 || s.Popped != uint64(h.popped) {
		t.Errorf("%d popped, stats %+v", h.popped, s)
	}
}

// TestFIFOOrder has one consumer take from many producers, each of which adds its
// keys in order, and some of them again. The consumer must see keys of a producer
// for the first time in the order in which they were added for the first time.
func TestFIFOOrder(t *testing.T) {
	const producers, keys = 4, 300
	f := newFIFO(t)
	var producing sync.WaitGroup
	for i := range producers {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 3))
		producing.Go(func() {
			for n := range keys {
				again := rng.IntN(n + 1)
				for _, n := range []int{n, again} {
					if err := f.Add(storetest.NewJob(fmt.Sprint(i, "-", n), i*keys+n)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	ended := make(chan error)
	next := make([]int, producers)
	go func() {
		for {
			l, err := f.Pop(t.Context())
			if err != nil {
				ended <- err
				return
			}
			i, n := l.Object().N/keys, l.Object().N%keys
			if n > next[i] {
				t.Errorf("%d of producer %d was handed out before %d", n, i, next[i])
			}
			next[i] = max(next[i], n+1)
			l.Done()
		}
	}()
	producing.Wait()
	f.Close()
	if err := <-ended; !errors.Is(err, fifo.ErrClosed) {
		t.Error(err)
	}
	for i, n := range next {
		if n != keys {
			t.Errorf("%d keys of producer %d were handed out", n, i)
		}
	}
}
