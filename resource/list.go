// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"container/heap"
	"iter"
	"time"
)

// list is a doubly linked list of slots, by their numbers. A slot is in at most one list.
// The zero value is empty.
type list struct {
	head, tail int32 // 0: there is none
	len        int
}

func (s *subscriber[T]) push(l *list, sl *slot[T]) {
	sl.prev, sl.next = l.tail, 0
	if l.tail != 0 {
		s.slots.at(l.tail).next = sl.number
	} else {
		l.head = sl.number
	}
	l.tail = sl.number
	l.len++
}

func (s *subscriber[T]) pushFront(l *list, sl *slot[T]) {
	sl.prev, sl.next = 0, l.head
	if l.head != 0 {
		s.slots.at(l.head).prev = sl.number
	} else {
		l.tail = sl.number
	}
	l.head = sl.number
	l.len++
}

func (s *subscriber[T]) remove(l *list, sl *slot[T]) {
	if sl.prev != 0 {
		s.slots.at(sl.prev).next = sl.next
	} else {
		l.head = sl.next
	}
	if sl.next != 0 {
		s.slots.at(sl.next).prev = sl.prev
	} else {
		l.tail = sl.prev
	}
	l.len--
}

// first returns the head of a list, nil if the list is empty.
func (s *subscriber[T]) first(l *list) *slot[T] {
	if l.len == 0 {
		return nil
	}
	return s.slots.at(l.head)
}

// each iterates over a list, which must not change meanwhile.
func (s *subscriber[T]) each(l list) iter.Seq[*slot[T]] {
	return func(yield func(*slot[T]) bool) {
		for number := l.head; number != 0; {
			sl := s.slots.at(number)
			number = sl.next
			if !yield(sl) {
				return
			}
		}
	}
}

// delays has the keys that are held back, with the end of their delays. The zero value is
// empty.
type delays struct {
	byTime delayHeap
	byID   map[int32]*delay
}

type delay struct {
	id    int32
	until time.Time
	at    int // index in the heap
}

// add holds id back. It must not be held back already.
func (d *delays) add(id int32, until time.Time) {
	if d.byID == nil {
		d.byID = map[int32]*delay{}
	}
	item := &delay{id: id, until: until}
	d.byID[id] = item
	heap.Push(&d.byTime, item)
}

// remove removes id, which must be held back.
func (d *delays) remove(id int32) {
	heap.Remove(&d.byTime, d.byID[id].at)
	delete(d.byID, id)
}

// due removes and returns the next id whose delay is over.
func (d *delays) due(now time.Time) (id int32, ok bool) {
	if len(d.byTime) == 0 || now.Before(d.byTime[0].until) {
		return 0, false
	}
	item := heap.Pop(&d.byTime).(*delay)
	delete(d.byID, item.id)
	return item.id, true
}

// next returns the end of the earliest delay, zero if there is none.
func (d *delays) next() time.Time {
	if len(d.byTime) == 0 {
		return time.Time{}
	}
	return d.byTime[0].until
}

type delayHeap []*delay

func (h delayHeap) Len() int           { return len(h) }
func (h delayHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h delayHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *delayHeap) Push(x any) {
	item := x.(*delay)
	item.at = len(*h)
	*h = append(*h, item)
}

func (h *delayHeap) Pop() any {
	old := *h
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return item
}
