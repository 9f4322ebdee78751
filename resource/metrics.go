// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"time"

	"k8s.io/client-go/util/workqueue"
)

// queueMetrics are the metrics of a client-go workqueue for one subscriber. All
// methods may be called on nil, and then do nothing.
type queueMetrics struct {
	length              workqueue.GaugeMetric
	counted             int
	adds, retries       workqueue.CounterMetric
	latency, work       workqueue.HistogramMetric
	unfinished, longest workqueue.SettableGaugeMetric
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

// added is told of each addition, and the length of the queue after it.
func (m *queueMetrics) added(length int) {
	if m == nil {
		return
	}
	m.adds.Inc()
	m.depth(length)
}

// depth brings the gauge to length.
func (m *queueMetrics) depth(length int) {
	if m == nil {
		return
	}
	for ; m.counted < length; m.counted++ {
		m.length.Inc()
	}
	for ; m.counted > length; m.counted-- {
		m.length.Dec()
	}
}

// got is told how long a key was in the queue.
func (m *queueMetrics) got(millis uint32) {
	if m != nil {
		m.latency.Observe(float64(millis) / 1000)
	}
}

// finished is told how long an event was outstanding.
func (m *queueMetrics) finished(millis uint32) {
	if m != nil {
		m.work.Observe(float64(millis) / 1000)
	}
}

// ended is told that the queue is no more, nor what was outstanding.
func (m *queueMetrics) ended() {
	if m == nil {
		return
	}
	m.depth(0)
	m.unfinished.Set(0)
	m.longest.Set(0)
}

func (m *queueMetrics) retried() {
	if m != nil {
		m.retries.Inc()
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

// measure tells how long outstanding events have been so.
func (s *subscriber[T]) measure() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.metrics == nil {
		return
	}
	var sum uint64 // of many long ones
	var longest uint32
	now := s.hub.now()
	for _, sl := range s.each(s.issued) {
		age := now - sl.since
		sum += uint64(age)
		longest = max(longest, age)
	}
	s.metrics.unfinished.Set(float64(sum) / 1000)
	s.metrics.longest.Set(float64(longest) / 1000)
}
