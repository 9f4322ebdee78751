// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// queueMetrics are the metrics of a client-go workqueue for one subscriber. They are the
// user's. The goroutine of the subscriber calls them, without the mutex: a tally has
// what they were not told yet. All methods can be called on nil, and then do nothing.
type queueMetrics struct {
	length              workqueue.GaugeMetric
	counted             int
	adds, retries       workqueue.CounterMetric
	latency, work       workqueue.HistogramMetric
	unfinished, longest workqueue.SettableGaugeMetric

	tally tally // guarded by hub.mu
	told  tally // the one before, of the goroutine
}

// tally is what happened to a queue. Times are in milliseconds.
type tally struct {
	changed       bool
	length        int
	adds, retries int
	latency, work []uint32

	measured   bool
	unfinished uint64 // the sum of many long ones
	longest    uint32
}

// measureEvery is how often what takes long is measured, as workqueue does.
const measureEvery = 500 * time.Millisecond

func newQueueMetrics(provider workqueue.MetricsProvider, name string) *queueMetrics {
	if provider == nil {
		return nil
	}
	return &queueMetrics{
		length:     provider.NewDepthMetric(name),
		adds:       provider.NewAddsMetric(name),
		retries:    provider.NewRetriesMetric(name),
		latency:    provider.NewLatencyMetric(name),
		work:       provider.NewWorkDurationMetric(name),
		unfinished: provider.NewUnfinishedWorkSecondsMetric(name),
		longest:    provider.NewLongestRunningProcessorSecondsMetric(name),
	}
}

// note changes the tally. The caller holds the mutex, and wakes the subscriber.
func (m *queueMetrics) note(change func(*tally)) {
	if m != nil {
		m.tally.changed = true
		change(&m.tally)
	}
}

// added notes an addition, and the length of the queue after it.
func (m *queueMetrics) added(length int) {
	m.note(func(t *tally) { t.adds, t.length = t.adds+1, length })
}

// depth notes the length of the queue.
func (m *queueMetrics) depth(length int) { m.note(func(t *tally) { t.length = length }) }

// got notes how long a key was in the queue.
func (m *queueMetrics) got(millis uint32) {
	m.note(func(t *tally) { t.latency = append(t.latency, millis) })
}

// finished notes how long an event was outstanding.
func (m *queueMetrics) finished(millis uint32) {
	m.note(func(t *tally) { t.work = append(t.work, millis) })
}

func (m *queueMetrics) retried() { m.note(func(t *tally) { t.retries++ }) }

// measured notes how long events have been outstanding, in sum and at most.
func (m *queueMetrics) measured(sum uint64, longest uint32) {
	m.note(func(t *tally) { t.measured, t.unfinished, t.longest = true, sum, longest })
}

// take returns the tally, and begins a new one.
func (m *queueMetrics) take() *tally {
	next := tally{length: m.tally.length, latency: m.told.latency[:0], work: m.told.work[:0]}
	m.told, m.tally = m.tally, next
	return &m.told
}

// tell calls the metrics.
func (m *queueMetrics) tell(t *tally) {
	for range t.adds {
		m.adds.Inc()
	}
	for range t.retries {
		m.retries.Inc()
	}
	for ; m.counted < t.length; m.counted++ {
		m.length.Inc()
	}
	for ; m.counted > t.length; m.counted-- {
		m.length.Dec()
	}
	for _, millis := range t.latency {
		m.latency.Observe(float64(millis) / 1000)
	}
	for _, millis := range t.work {
		m.work.Observe(float64(millis) / 1000)
	}
	if t.measured {
		m.unfinished.Set(float64(t.unfinished) / 1000)
		m.longest.Set(float64(t.longest) / 1000)
	}
}

// tellMetrics has the metrics told what happened. The caller, the goroutine of the
// subscriber, holds the mutex, which is unlocked meanwhile. If a metric panics the rest
// of the tally is lost.
func (s *subscriber[T]) tellMetrics() {
	if m := s.metrics; m != nil && m.tally.changed {
		told := m.take()
		_ = s.call("metrics provider", store.Key{}, func() { m.tell(told) })
	}
}

// ticker says when to measure: never if there are no metrics.
func (m *queueMetrics) ticker() (tick <-chan time.Time, stop func()) {
	if m == nil {
		return nil, func() {}
	}
	ticker := time.NewTicker(measureEvery)
	return ticker.C, ticker.Stop
}

// measure tells the metrics how long outstanding events have been so.
func (s *subscriber[T]) measure() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.metrics == nil {
		return
	}
	var sum uint64
	var longest uint32
	now := s.hub.now()
	for _, sl := range s.each(s.issued) {
		age := now - sl.since
		sum += uint64(age)
		longest = max(longest, age)
	}
	s.metrics.measured(sum, longest)
	s.tellMetrics()
}
