// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// sampling is the interval between two samples of the heap.
const sampling = 10 * time.Millisecond

// heapSamples samples the heap until it is stopped. Its fields can be read afterwards.
type heapSamples struct {
	peak  int64 // HeapInuse
	count int
	gap   time.Duration // the longest time between two samples

	end   chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

func sampleHeap() *heapSamples {
	s := &heapSamples{end: make(chan struct{})}
	s.ended.Go(s.run)
	return s
}

// stop ends the sampling after one more sample. It can be called twice.
func (s *heapSamples) stop() {
	s.once.Do(func() { close(s.end) })
	s.ended.Wait()
}

func (s *heapSamples) run() {
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	last := time.Now()
	for more := true; more; {
		select {
		case <-ticker.C:
		case <-s.end:
			more = false
		}
		s.peak = max(s.peak, heapInUse())
		s.count++
		now := time.Now()
		s.gap = max(s.gap, now.Sub(last))
		last = now
	}
}

// heapInUse returns HeapInuse. In contrast to runtime.ReadMemStats it does not stop the
// world.
func heapInUse() int64 {
	parts := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(parts)
	return int64(parts[0].Value.Uint64() + parts[1].Value.Uint64())
}

// cpuTime returns the CPU time of this process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakRSS returns the maximum resident memory of this process, in bytes, or 0 if it is
// unknown. (getrusage can return that of the parent.)
func peakRSS() int64 { return statusBytes("VmHWM:") }

// residentBytes returns the resident memory of this process, or 0.
func residentBytes() int64 { return statusBytes("VmRSS:") }

// statusBytes returns a size from the status of this process, or 0.
func statusBytes(name string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(after)
	if len(fields) == 0 {
		return 0
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
