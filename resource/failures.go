// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"cmp"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// failures are the failed events of a subscriber. subscriber.mu guards them. Most subscribers
// have none, so they are in memory from the first failure on.
type failures struct {
	keys  map[int32]*failing
	count uint64
	last  error

	retried, dropped check.Thinner // what is logged
}

// failing is a key whose last event failed, and is retried.
type failing struct {
	key     store.Key
	retries int // those that were decided on
	since   time.Time
	next    time.Time
	err     error
}

// retriesOf returns how often the key was retried since it last succeeded.
func (s *subscriber[T]) retriesOf(id int32) int {
	if s.failures == nil || s.failures.keys[id] == nil {
		return 0
	}
	return s.failures.keys[id].retries
}

// failed records a failure of the key, and returns it as an event for the observer.
func (s *subscriber[T]) failed(r *receipt[T], action ErrorAction, delay time.Duration, err error) informer.ConsumerFailed {
	now := time.Now()
	if s.failures == nil {
		s.failures = &failures{keys: map[int32]*failing{}}
	}
	all := s.failures
	all.count++
	all.last = err
	o := informer.ConsumerFailed{
		Consumer: s.consumer(r.key), Change: string(r.kind), Action: informer.Action(action),
		Retries: s.retriesOf(r.slot.id), Since: now, Next: delay, Err: err,
	}
	key := all.keys[r.slot.id]
	if key != nil {
		o.Since = key.since
	}
	thin := &all.dropped
	if action == ErrorActionRetry {
		thin = &all.retried
		if key == nil {
			key = &failing{key: r.key, since: now}
			all.keys[r.slot.id] = key
		}
		key.retries++
		key.next, key.err = now.Add(delay), err
	}
	shown, omitted := thin.Shown(now)
	o.Quiet, o.Omitted = !shown, omitted
	return o
}

// recovered forgets the failures of the key, and returns the event for the observer.
func (s *subscriber[T]) recovered(r *receipt[T]) informer.ConsumerRecovered {
	key := s.failures.keys[r.slot.id]
	delete(s.failures.keys, r.slot.id)
	return informer.ConsumerRecovered{Consumer: s.consumer(r.key), Retries: key.retries, After: time.Since(key.since)}
}

func (s *subscriber[T]) consumer(key store.Key) informer.Consumer {
	return informer.Consumer{Subscriber: cmp.Or(s.name, s.site.String()), ID: s.id, Key: key}
}

// report passes an event to the observer, without the mutex, which the caller holds.
func (s *subscriber[T]) report(o informer.ReflectorEvent) {
	if s.hub.observe != nil {
		s.unlocked(func() { s.hub.observe(o) })
	}
}

// describe adds the failures to the stats of the subscriber. The caller holds the mutex.
func (f *failures) describe(stats *SubscriberStats) {
	if f == nil {
		return
	}
	now := time.Now()
	stats.Errors, stats.LastError = f.count, f.last
	var worst *FailingKey
	for _, k := range f.keys {
		stats.Oldest = max(stats.Oldest, now.Sub(k.since))
		stats.RetryingOldest = max(stats.RetryingOldest, now.Sub(k.since))
		if worst == nil || k.retries > worst.Retries || k.retries == worst.Retries && k.since.Before(worst.Since) {
			worst = &FailingKey{Key: k.key, Retries: k.retries, Since: k.since, Next: k.next, Err: k.err}
		}
	}
	stats.Worst = worst
}
