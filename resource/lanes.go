// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

// Order is the order in which a subscriber gets the events of different keys. The events
// of one key keep theirs.
type Order int

const (
	// FreshFirst is the default. A subscriber has three lanes of keys: those that changed,
	// those that are retried, and those of the replay and of what a list found. Of eight
	// events, six are of the first lane that has keys, and one each of the other two. A lane
	// that is empty leaves its turn to the next one. So a change is seen while a large
	// replay goes on, and no lane waits for ever: the key at position n of a lane is emitted
	// within 8n events, and one that changed within 2n. Of the last lane, keys that Sync waits
	// for come first.
	FreshFirst Order = iota

	// ReplayFirst emits the replay, and then everything else in the order in which it was
	// queued.
	ReplayFirst
)

// WithOrder sets the order of events. Default: [FreshFirst].
func WithOrder(order Order) EventsOpt {
	return func(o *eventsOpts) { o.order = order }
}

// lane is a queue of a subscriber. A key is in one lane at a time, and moves to an earlier
// one only.
type lane uint8

const (
	laneFresh   lane = iota // what the watch delivered
	laneRetry               // keys whose delay is over
	laneInitial             // the replay, what a pass found, and Sync
	lanes
)

// turns has the lanes in the order in which they are looked at, for each turn.
var turns = [8][lanes]lane{
	{laneFresh, laneRetry, laneInitial},
	{laneFresh, laneRetry, laneInitial},
	{laneFresh, laneRetry, laneInitial},
	{laneRetry, laneInitial, laneFresh},
	{laneFresh, laneRetry, laneInitial},
	{laneFresh, laneRetry, laneInitial},
	{laneFresh, laneRetry, laneInitial},
	{laneInitial, laneFresh, laneRetry},
}

// replayFirst are the turns of ReplayFirst. Nothing is in laneRetry.
var replayFirst = [lanes]lane{laneInitial, laneFresh, laneRetry}

// laneOf returns the lane of a key that changed. found is true if a pass found the change.
func (o Order) laneOf(found bool) lane {
	if found && o == FreshFirst {
		return laneInitial
	}
	return laneFresh
}

// laneOfSync returns the lane of the first Sync.
func (o Order) laneOfSync() lane { return o.laneOf(true) }

// laneOfRetry returns the lane of a key whose delay is over.
func (o Order) laneOfRetry() lane {
	if o == FreshFirst {
		return laneRetry
	}
	return laneFresh
}

// candidate returns the key whose turn it is, nil if there is none. A Sync that waits for
// nothing comes first. more is true if keys of the replay must be pulled before.
func (s *subscriber[T]) candidate() (sl *slot[T], more bool) {
	if sl := s.first(&s.lanes[s.order.laneOfSync()]); sl != nil && sl.id == syncID && s.preceding == 0 && s.replay.left()+s.replay.queued == 0 {
		return sl, false
	}
	order := turns[s.turn%uint8(len(turns))]
	if s.order == ReplayFirst {
		order = replayFirst
	}
	for _, l := range order {
		sl := s.first(&s.lanes[l])
		switch {
		case l == laneInitial && s.replay.left() > 0 && (sl == nil || sl.flags&isReplayed == 0):
			return nil, true
		case sl == nil, sl.id == syncID:
			continue
		}
		return sl, false
	}
	return nil, false
}

// depth returns the number of keys in all lanes, without those of the replay.
func (s *subscriber[T]) depth() int {
	n := -s.replay.queued
	for _, l := range s.lanes {
		n += l.len
	}
	return n
}

// enqueue adds the key to the end of a lane. A key that must come before a Sync of that
// lane is added to the head, and recalls a Sync that is offered.
func (s *subscriber[T]) enqueue(sl *slot[T], l lane, now uint32) {
	sl.flags |= isQueued
	sl.since = now
	if sl.flags&beforeSync != 0 {
		s.preceding++
		if s.offering == Sync && s.recall == nil {
			s.recall = make(chan struct{})
		}
	}
	s.put(sl, l)
	if s.metrics != nil {
		s.metrics.added(s.depth())
	}
	s.wakeUp()
}

// put adds a queued key to a lane.
func (s *subscriber[T]) put(sl *slot[T], l lane) {
	sl.lane = l
	if sl.flags&beforeSync != 0 && l == s.order.laneOfSync() {
		s.pushFront(&s.lanes[l], sl)
		return
	}
	s.push(&s.lanes[l], sl)
}

// move moves a queued key to another lane.
func (s *subscriber[T]) move(sl *slot[T], l lane) {
	s.unlink(sl)
	s.put(sl, l)
}

// unlink removes a queued key from its lane.
func (s *subscriber[T]) unlink(sl *slot[T]) {
	if sl.flags&isReplayed != 0 {
		sl.flags &^= isReplayed
		s.replay.queued--
	}
	s.remove(&s.lanes[sl.lane], sl)
}

func (s *subscriber[T]) dequeue(sl *slot[T]) {
	sl.flags &^= isQueued
	if sl.flags&beforeSync != 0 {
		s.preceding--
	}
	s.unlink(sl)
	if s.metrics != nil {
		s.metrics.depth(s.depth())
		s.wakeUp()
	}
}

// precedeSync makes Sync wait for an event of the key.
func (s *subscriber[T]) precedeSync(sl *slot[T]) {
	if sl.flags&beforeSync == 0 && sl.flags&isQueued != 0 {
		s.preceding++
	}
	sl.flags |= beforeSync
}

// queueFirstSync is queueSync for the hub, which holds its mutex.
func (s *subscriber[T]) queueFirstSync(now uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queueSync(s.slots.take(syncID), now)
}

// queueSync queues Sync, also one that is retried. What waits already comes before it. Some
// keys need more than one event to reach their current state: they changed while outstanding,
// or were deleted and created again. Their further events come before Sync if the Done of the
// first event is called before Sync is received.
func (s *subscriber[T]) queueSync(sync *slot[T], now uint32) {
	s.synced = false
	for l, list := range s.lanes {
		for sl := range s.each(list) {
			kind, _ := s.pending(sl)
			if lane(l) != s.order.laneOfSync() || kind == Delete && s.current(sl) != nil {
				s.precedeSync(sl)
			}
		}
	}
	for sl := range s.each(s.issued) {
		if kind, _ := s.pending(sl); kind != "" {
			s.precedeSync(sl)
		}
	}
	s.enqueue(sync, s.order.laneOfSync(), now)
}
