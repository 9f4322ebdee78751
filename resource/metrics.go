// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/store"
)

// queueMetrics are the metrics of a client-go workqueue for one subscriber. They are user
// code, so the goroutine of the subscriber calls them without the mutex. Until then, a
// tally collects the changes. All methods can be called on nil, and then do nothing.
type queueMetrics struct {
	length              workqueue.GaugeMetric
	counted             int
	adds, retries       workqueue.CounterMetric
	latency, work       workqueue.HistogramMetric
	unfinished, longest workqueue.SettableGaugeMetric

	tally    tally // since the last flush; guarded by subscriber.mu
	flushing tally // the previous one; only for the goroutine
}

// tally collects the changes of a queue. Times are in milliseconds.
type tally struct {
	changed       bool
	length        int
	adds, retries int
	latency, work []uint32

	measured   bool
	unfinished uint64 // a sum, which can exceed 32 bits
	longest    uint32
}

// measureEvery is the interval between measurements of unfinished work, as in workqueue.
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

// take returns the tally, and begins a new one. The caller holds the mutex.
func (m *queueMetrics) take() *tally {
	next := tally{length: m.tally.length, latency: m.flushing.latency[:0], work: m.flushing.work[:0]}
	m.flushing, m.tally = m.tally, next
	return &m.flushing
}

// flush calls the metrics.
func (m *queueMetrics) flush(t *tally) {
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

// flushMetrics passes the tally to the metrics. The caller is the goroutine of the
// subscriber and holds the mutex, which is unlocked meanwhile. If a metric panics, the
// rest of the tally is lost.
func (s *subscriber[T]) flushMetrics() {
	if m := s.metrics; m != nil && m.tally.changed {
		t := m.take()
		_ = s.call("metrics provider", store.Key{}, func() { m.flush(t) })
	}
}

// ticker ticks when measure is due. Without metrics it never does.
func (m *queueMetrics) ticker() (tick <-chan time.Time, stop func()) {
	if m == nil {
		return nil, func() {}
	}
	ticker := time.NewTicker(measureEvery)
	return ticker.C, ticker.Stop
}

// measure updates the metrics of unfinished work.
func (s *subscriber[T]) measure() {
	s.mu.Lock()
	defer s.unlock()
	if s.metrics == nil {
		return
	}
	var sum uint64
	var longest uint32
	now := s.hub.now()
	for sl := range s.each(s.issued) {
		age := now - sl.since
		sum += uint64(age)
		longest = max(longest, age)
	}
	s.metrics.measured(sum, longest)
	s.flushMetrics()
}
