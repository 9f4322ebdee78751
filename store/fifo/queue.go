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

// Queued items are in one of three lists: ready, kept and delayed. The methods of FIFO in
// this file require its lock.

// manyKeys is the size from which a map is replaced when few keys are left. Maps do not
// shrink by themselves.
const manyKeys = 1024

// spareItems is the number of unused items that are kept for reuse.
const spareItems = 512

// item is an object in a FIFO, from Add until its lease ends.
type item[T any] struct {
	meta store.Meta
	obj  T

	state   itemState
	gone    bool   // leased: its key was deleted meanwhile
	initial bool   // an object of the first pass
	seen    uint32 // FIFO.mark when it was last added
	lease   uint64 // leased: the number of the lease, from Stats.Popped

	prev, next *item[T] // in a line
	behind     *item[T] // leased: the queued item of the same key

	index int           // in delays
	due   time.Duration // since FIFO.base
	nth   uint64        // orders items that are due at the same time
}

type itemState uint8

const (
	isNew     itemState = iota
	isReady             // in FIFO.ready
	isKept              // in FIFO.kept, behind the lease of its key
	isDelayed           // in FIFO.delayed
	isLeased
)

// put queues obj, or replaces the queued object of its key. It returns the item.
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
			f.moveToReady(it)
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

// newItem returns an item that counts as queued. The caller adds it to a list.
func (f *FIFO[T]) newItem() *item[T] {
	f.stats.Queued++
	if n := len(f.spare); n > 0 {
		it := f.spare[n-1]
		f.spare = f.spare[:n-1]
		return it
	}
	return &item[T]{}
}

// recycle takes back an item that is in no list.
func (f *FIFO[T]) recycle(it *item[T]) {
	*it = item[T]{}
	if len(f.spare) < spareItems {
		f.spare = append(f.spare, it)
	}
}

// queuedAt returns the queued item of key, or nil.
func (f *FIFO[T]) queuedAt(key store.Key) *item[T] {
	it := f.byKey[key]
	if it != nil && it.state == isLeased {
		return it.behind
	}
	return it
}

// drop removes the queued item of key. A leased item is marked, so that Retry does not
// queue it again.
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
		f.removeKey(key)
	}
	f.unlink(it)
	f.uncount(it)
	f.recycle(it)
	f.stats.Dropped++
}

// uncount counts an item as no longer queued.
func (f *FIFO[T]) uncount(it *item[T]) {
	f.stats.Queued--
	if it.initial {
		it.initial = false
		f.initial--
	}
}

// unlink removes an item from its list.
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

// moveToReady moves a kept or delayed item to the tail of ready.
func (f *FIFO[T]) moveToReady(it *item[T]) {
	f.unlink(it)
	f.makeReady(it)
}

// makeReady adds an item that is in no list to the tail of ready.
func (f *FIFO[T]) makeReady(it *item[T]) {
	it.state = isReady
	f.ready.push(it)
	f.wake()
}

// delay adds an item that is in no list to delayed.
func (f *FIFO[T]) delay(it *item[T], after time.Duration) {
	it.state = isDelayed
	f.retries++
	now := time.Since(f.base)
	it.due, it.nth = now+min(after, math.MaxInt64-now), f.retries
	heap.Push(&f.delayed, it)
	f.setTimer()
}

// toTail moves an item to the tail of its list.
func (f *FIFO[T]) toTail(it *item[T]) {
	line := &f.ready
	if it.state == isKept {
		line = &f.kept
	}
	line.remove(it)
	line.push(it)
}

// setTimer sets the timer to the end of the first delay.
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

// delaysEnd is called by the timer. A call that is early or unneeded does no harm.
func (f *FIFO[T]) delaysEnd() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Since(f.base)
	for len(f.delayed) > 0 && f.delayed[0].due <= now {
		f.moveToReady(f.delayed[0])
	}
}

// removeKey removes a key that has no queued and no leased item.
func (f *FIFO[T]) removeKey(key store.Key) {
	delete(f.byKey, key)
	if n := len(f.byKey); f.most >= manyKeys && n < f.most/8 {
		smaller := make(map[store.Key]*item[T], n)
		maps.Copy(smaller, f.byKey)
		f.byKey, f.most = smaller, n
	}
}

// queued returns the queued items, in the order of List.
func (f *FIFO[T]) queued() []*item[T] {
	list := make([]*item[T], 0, f.stats.Queued)
	list = f.ready.appendTo(list)
	list = f.kept.appendTo(list)
	n := len(list)
	list = append(list, f.delayed...)
	slices.SortFunc(list[n:], (*item[T]).compareDue)
	return list
}

// setSynced is called after each pass and Replace. After the first one it marks the
// objects for which HasSynced waits.
func (f *FIFO[T]) setSynced() {
	if f.whole {
		return
	}
	f.whole = true
	for _, it := range f.queued() {
		if it.state != isDelayed { // a delayed item was popped before
			it.initial = true
			f.initial++
		}
	}
}

// line is an intrusive linked list of items.
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

// delays is a heap of items. The first one is due first.
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
