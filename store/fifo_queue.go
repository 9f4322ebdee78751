// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"time"
)

// What a FIFO has queued is in three places, by what it waits for. All methods of
// FIFO in this file need its lock.

// manyKeys is how many keys a queue must have had for its map to be made anew when
// few are left. Maps do not become smaller by themselves.
const manyKeys = 1024

// put queues obj, in the place of what is queued under its key, and returns it.
func (f *FIFO[T]) put(meta Meta, obj T) *Lease[T] {
	l := f.queuedAt(meta.Key)
	if l != nil {
		f.stats.Merged++
		l.meta, l.obj = meta, obj
		if l.state == isDelayed {
			f.arrive(l)
		}
	} else {
		l = f.queue(meta, obj)
		if out := f.byKey[meta.Key]; out != nil {
			out.behind = l
			l.state = isKept
			f.kept.push(l)
		} else {
			f.byKey[meta.Key] = l
			f.most = max(f.most, len(f.byKey))
			f.ready.push(l)
			f.wake()
		}
	}
	l.seen = f.mark
	return l
}

// queue counts a new object as queued. The caller puts it somewhere.
func (f *FIFO[T]) queue(meta Meta, obj T) *Lease[T] {
	f.stats.Queued++
	return &Lease[T]{fifo: f, meta: meta, obj: obj}
}

// queuedAt returns what is queued under key, or nil.
func (f *FIFO[T]) queuedAt(key Key) *Lease[T] {
	l := f.byKey[key]
	if l != nil && l.state == isLeased {
		return l.behind
	}
	return l
}

// drop removes what is queued under key, and sees to it that what is leased is
// not put back.
func (f *FIFO[T]) drop(key Key) {
	l := f.byKey[key]
	switch {
	case l == nil:
		return
	case l.state == isLeased:
		l.gone = true
		if l.behind == nil {
			return
		}
		l, l.behind = l.behind, nil
	default:
		f.forget(key)
	}
	f.unlink(l)
	f.handled(l)
	l.state = isOver
	f.stats.Dropped++
}

// handled counts an object as no longer queued.
func (f *FIFO[T]) handled(l *Lease[T]) {
	f.stats.Queued--
	if l.initial {
		l.initial = false
		f.initial--
	}
}

// unlink takes an object out of the place where it is queued.
func (f *FIFO[T]) unlink(l *Lease[T]) {
	switch l.state {
	case isReady:
		f.ready.remove(l)
	case isKept:
		f.kept.remove(l)
	case isDelayed:
		heap.Remove(&f.delayed, l.index)
		f.setTimer()
	}
}

// arrive makes ready what waited for something.
func (f *FIFO[T]) arrive(l *Lease[T]) {
	f.unlink(l)
	l.state = isReady
	f.ready.push(l)
	f.wake()
}

// delay makes an object that waits behind a lease wait for a time instead.
func (f *FIFO[T]) delay(l *Lease[T], after time.Duration) {
	f.unlink(l)
	l.state = isDelayed
	f.retries++
	l.due, l.nth = time.Since(f.base)+after, f.retries
	heap.Push(&f.delayed, l)
	f.setTimer()
}

// toTail moves an object to the tail of what waits for the same.
func (f *FIFO[T]) toTail(l *Lease[T]) {
	line := &f.ready
	if l.state == isKept {
		line = &f.kept
	}
	line.remove(l)
	line.push(l)
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
func (f *FIFO[T]) forget(key Key) {
	delete(f.byKey, key)
	if n := len(f.byKey); f.most >= manyKeys && n < f.most/8 {
		smaller := make(map[Key]*Lease[T], n)
		maps.Copy(smaller, f.byKey)
		f.byKey, f.most = smaller, n
	}
}

// queued returns what is queued, in the order of List.
func (f *FIFO[T]) queued() []*Lease[T] {
	list := make([]*Lease[T], 0, f.stats.Queued)
	list = f.ready.appendTo(list)
	list = f.kept.appendTo(list)
	n := len(list)
	list = append(list, f.delayed...)
	slices.SortFunc(list[n:], (*Lease[T]).compareDue)
	return list
}

// passed is told that a pass, or a Replace, is complete.
func (f *FIFO[T]) passed() {
	if f.whole {
		return
	}
	f.whole = true
	for _, l := range f.queued() {
		if l.state != isDelayed { // it was handed out before
			l.initial = true
			f.initial++
		}
	}
}

// line is a list that is linked through its elements.
type line[T any] struct{ first, last *Lease[T] }

func (q *line[T]) push(l *Lease[T]) {
	if l.prev = q.last; l.prev == nil {
		q.first = l
	} else {
		l.prev.next = l
	}
	q.last = l
}

func (q *line[T]) remove(l *Lease[T]) {
	if l.prev == nil {
		q.first = l.next
	} else {
		l.prev.next = l.next
	}
	if l.next == nil {
		q.last = l.prev
	} else {
		l.next.prev = l.prev
	}
	l.prev, l.next = nil, nil
}

func (q *line[T]) appendTo(list []*Lease[T]) []*Lease[T] {
	for l := q.first; l != nil; l = l.next {
		list = append(list, l)
	}
	return list
}

// delays is a heap: what is due first comes first.
type delays[T any] []*Lease[T]

func (l *Lease[T]) compareDue(other *Lease[T]) int {
	return cmp.Or(cmp.Compare(l.due, other.due), cmp.Compare(l.nth, other.nth))
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
	l := x.(*Lease[T])
	l.index = len(*d)
	*d = append(*d, l)
}

// Pop implements heap.Interface.
func (d *delays[T]) Pop() any {
	last := len(*d) - 1
	l := (*d)[last]
	(*d)[last] = nil
	if *d = (*d)[:last]; last == 0 {
		*d = nil
	}
	return l
}
