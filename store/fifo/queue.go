// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo

import (
	"cmp"
	"container/heap"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/apiary-go/apiary/store"
)

// What a FIFO has queued is in three places, by what it waits for. All methods of
// FIFO in this file need its lock.

// manyKeys is how many keys a queue must have had for its map to be made anew when
// few are left. Maps do not become smaller by themselves.
const manyKeys = 1024

// spareItems is how many items that are no longer used are kept for others.
const spareItems = 512

// item is an object in a FIFO, from when it is queued until its lease ends.
type item[T any] struct {
	meta store.Meta
	obj  T

	state   itemState
	gone    bool   // leased: its key was deleted since
	initial bool   // belongs to the first pass
	seen    uint32 // the pass, or the time after it, in which it was last added
	lease   uint64 // leased: which lease it is, by FIFOStats.Popped

	prev, next *item[T] // in a line
	behind     *item[T] // leased: what was added to its key since

	index int           // in delays
	due   time.Duration // since FIFO.base
	nth   uint64        // among those that are due at the same time
}

type itemState uint8

const (
	isNew     itemState = iota
	isReady             // in FIFO.ready
	isKept              // in FIFO.kept, behind the lease of its key
	isDelayed           // in FIFO.delayed
	isLeased
)

// put queues obj, in the place of what is queued under its key, and returns it.
func (f *FIFO[T]) put(meta store.Meta, obj T) *item[T] {
	out := f.byKey[meta.Key]
	it := out
	if out != nil && out.state == isLeased {
		it = out.behind
	}
	switch {
	case it != nil:
		f.stats.Merged++
		if it.state == isDelayed {
			f.arrive(it)
		}
	case out != nil:
		it = f.newItem()
		out.behind = it
		it.state = isKept
		f.kept.push(it)
	default:
		it = f.newItem()
		f.byKey[meta.Key] = it
		f.most = max(f.most, len(f.byKey))
		f.makeReady(it)
	}
	it.meta, it.obj, it.seen = meta, obj, f.mark
	return it
}

// newItem counts an item as queued. The caller puts it somewhere.
func (f *FIFO[T]) newItem() *item[T] {
	f.stats.Queued++
	if n := len(f.spare); n > 0 {
		it := f.spare[n-1]
		f.spare = f.spare[:n-1]
		return it
	}
	return &item[T]{}
}

// recycle takes back an item that is in no place any more.
func (f *FIFO[T]) recycle(it *item[T]) {
	*it = item[T]{}
	if len(f.spare) < spareItems {
		f.spare = append(f.spare, it)
	}
}

// queuedAt returns what is queued under key, or nil.
func (f *FIFO[T]) queuedAt(key store.Key) *item[T] {
	it := f.byKey[key]
	if it != nil && it.state == isLeased {
		return it.behind
	}
	return it
}

// drop removes what is queued under key, and sees to it that what is leased is
// not put back.
func (f *FIFO[T]) drop(key store.Key) {
	it := f.byKey[key]
	switch {
	case it == nil:
		return
	case it.state == isLeased:
		it.gone = true
		if it.behind == nil {
			return
		}
		it, it.behind = it.behind, nil
	default:
		f.forget(key)
	}
	f.unlink(it)
	f.handled(it)
	f.recycle(it)
	f.stats.Dropped++
}

// handled counts an object as no longer queued.
func (f *FIFO[T]) handled(it *item[T]) {
	f.stats.Queued--
	if it.initial {
		it.initial = false
		f.initial--
	}
}

// unlink takes an object out of the place where it is queued.
func (f *FIFO[T]) unlink(it *item[T]) {
	switch it.state {
	case isReady:
		f.ready.remove(it)
	case isKept:
		f.kept.remove(it)
	case isDelayed:
		heap.Remove(&f.delayed, it.index)
		f.setTimer()
	}
}

// arrive makes ready what waited for something.
func (f *FIFO[T]) arrive(it *item[T]) {
	f.unlink(it)
	f.makeReady(it)
}

// makeReady puts at the tail what is in no place.
func (f *FIFO[T]) makeReady(it *item[T]) {
	it.state = isReady
	f.ready.push(it)
	f.wake()
}

// delay makes wait for a time what is in no place.
func (f *FIFO[T]) delay(it *item[T], after time.Duration) {
	it.state = isDelayed
	f.retries++
	now := time.Since(f.base)
	it.due, it.nth = now+min(after, math.MaxInt64-now), f.retries
	heap.Push(&f.delayed, it)
	f.setTimer()
}

// toTail moves an object to the tail of what waits for the same.
func (f *FIFO[T]) toTail(it *item[T]) {
	line := &f.ready
	if it.state == isKept {
		line = &f.kept
	}
	line.remove(it)
	line.push(it)
}

// setTimer makes the timer go off when the first delay ends.
func (f *FIFO[T]) setTimer() {
	switch {
	case len(f.delayed) == 0:
		f.timer.Stop()
	case f.timer == nil:
		f.timer = time.AfterFunc(f.delayed[0].due-time.Since(f.base), f.delaysEnd)
	default:
		f.timer.Reset(f.delayed[0].due - time.Since(f.base))
	}
}

// delaysEnd is called by the timer. That it may be called too early, or for
// nothing, does no harm.
func (f *FIFO[T]) delaysEnd() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Since(f.base)
	for len(f.delayed) > 0 && f.delayed[0].due <= now {
		f.arrive(f.delayed[0])
	}
}

// forget removes a key of which nothing is queued or leased.
func (f *FIFO[T]) forget(key store.Key) {
	delete(f.byKey, key)
	if n := len(f.byKey); f.most >= manyKeys && n < f.most/8 {
		smaller := make(map[store.Key]*item[T], n)
		maps.Copy(smaller, f.byKey)
		f.byKey, f.most = smaller, n
	}
}

// queued returns what is queued, in the order of List.
func (f *FIFO[T]) queued() []*item[T] {
	list := make([]*item[T], 0, f.stats.Queued)
	list = f.ready.appendTo(list)
	list = f.kept.appendTo(list)
	n := len(list)
	list = append(list, f.delayed...)
	slices.SortFunc(list[n:], (*item[T]).compareDue)
	return list
}

// passed is told that a pass, or a Replace, is complete.
func (f *FIFO[T]) passed() {
	if f.whole {
		return
	}
	f.whole = true
	for _, it := range f.queued() {
		if it.state != isDelayed { // it was handed out before
			it.initial = true
			f.initial++
		}
	}
}

// line is a list that is linked through its elements.
type line[T any] struct{ first, last *item[T] }

func (q *line[T]) push(it *item[T]) {
	if it.prev = q.last; it.prev == nil {
		q.first = it
	} else {
		it.prev.next = it
	}
	q.last = it
}

func (q *line[T]) remove(it *item[T]) {
	if it.prev == nil {
		q.first = it.next
	} else {
		it.prev.next = it.next
	}
	if it.next == nil {
		q.last = it.prev
	} else {
		it.next.prev = it.prev
	}
	it.prev, it.next = nil, nil
}

func (q *line[T]) appendTo(list []*item[T]) []*item[T] {
	for it := q.first; it != nil; it = it.next {
		list = append(list, it)
	}
	return list
}

// delays is a heap: what is due first comes first.
type delays[T any] []*item[T]

func (it *item[T]) compareDue(other *item[T]) int {
	return cmp.Or(cmp.Compare(it.due, other.due), cmp.Compare(it.nth, other.nth))
}

// Len implements heap.Interface.
func (d delays[T]) Len() int { return len(d) }

// Less implements heap.Interface.
func (d delays[T]) Less(i, j int) bool { return d[i].compareDue(d[j]) < 0 }

// Swap implements heap.Interface.
func (d delays[T]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}

// Push implements heap.Interface.
func (d *delays[T]) Push(x any) {
	it := x.(*item[T])
	it.index = len(*d)
	*d = append(*d, it)
}

// Pop implements heap.Interface.
func (d *delays[T]) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	(*d)[last] = nil
	if *d = (*d)[:last]; last == 0 {
		*d = nil
	}
	return it
}
