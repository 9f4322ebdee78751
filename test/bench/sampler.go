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

// sampling is how often the heap is looked at.
const sampling = 10 * time.Millisecond

// heapSamples looks at the heap until it is stopped. Its fields may be read then.
type heapSamples struct {
	peak  int64 // HeapInuse
	count int
	gap   time.Duration // the longest between two looks

	end   chan struct{}
	once  sync.Once
	ended sync.WaitGroup
}

func sampleHeap() *heapSamples {
	s := &heapSamples{end: make(chan struct{})}
	s.ended.Go(s.run)
	return s
}

// stop ends the sampling after one more look. It may be called twice.
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

// heapInUse reads what makes up HeapInuse, exactly that, but without stopping the world
// as runtime.ReadMemStats does.
func heapInUse() int64 {
	parts := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(parts)
	return int64(parts[0].Value.Uint64() + parts[1].Value.Uint64())
}

// cpuTime is what this process has taken so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakRSS is the most memory that this process ever had, in bytes, or 0 if the
// system does not say. (What getrusage says may be that of the parent.)
func peakRSS() int64 { return statusBytes("VmHWM:") }

// residentBytes is the memory that this process has, or 0.
func residentBytes() int64 { return statusBytes("VmRSS:") }

// statusBytes is a size that the system says of this process, or 0.
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
