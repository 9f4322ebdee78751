// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wireSampling is the interval between two samples of the memory of a process.
const wireSampling = 20 * time.Millisecond

// memorySample is the resident memory of a process at some time.
type memorySample struct{ seconds, megabytes float64 }

// wireTraces holds the memory over time of the last first sync of each contestant, for
// the last size. Nil records nothing.
type wireTraces struct {
	size   string // the last one
	names  []string
	traces map[string][]memorySample
}

// watch samples a process until the returned function is called.
func (t *wireTraces) watch(pid int, size, name string) (stop func()) {
	if t == nil {
		return func() {}
	}
	if t.size != size {
		*t = wireTraces{size: size, traces: map[string][]memorySample{}}
	}
	if _, ok := t.traces[name]; !ok {
		t.names = append(t.names, name)
	}
	var (
		end     = make(chan struct{})
		looking sync.WaitGroup
		samples []memorySample
		begun   = time.Now()
	)
	looking.Go(func() {
		ticker := time.NewTicker(wireSampling)
		defer ticker.Stop()
		for more := true; more; {
			samples = append(samples, memorySample{time.Since(begun).Seconds(), float64(residentOf(pid)) / 1e6})
			select {
			case <-ticker.C:
			case <-end:
				more = false
			}
		}
	})
	return func() {
		close(end)
		looking.Wait()
		t.traces[name] = samples
	}
}

// residentOf returns the resident memory of a process, or 0 if it is unknown.
func residentOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize())
}

// plotColors are the colors of the curves. They also differ for readers who cannot see
// red or green.
var plotColors = []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#000000", "#56b4e9"}

// svg draws the traces.
func (t *wireTraces) svg() []byte {
	const width, height, left, top, right, bottom = 900.0, 480.0, 70.0, 40.0, 190.0, 50.0
	var seconds, megabytes float64
	for _, samples := range t.traces {
		for _, s := range samples {
			seconds, megabytes = max(seconds, s.seconds), max(megabytes, s.megabytes)
		}
	}
	stepX, stepY := tick(seconds), tick(megabytes)
	seconds, megabytes = math.Ceil(seconds/stepX)*stepX, math.Ceil(megabytes/stepY)*stepY
	x := func(v float64) float64 { return left + v/seconds*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - v/megabytes*(height-top-bottom) }

	var out bytes.Buffer
	draw := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	draw(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13">`, width, height)
	draw(`<rect width="%g" height="%g" fill="white"/>`, width, height)
	draw(`<text x="%g" y="22" font-size="15">Resident memory during the first sync of %s pods, MB</text>`, left, t.size)
	for v := 0.0; v <= megabytes+stepY/2; v += stepY {
		draw(`<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#ddd"/>`, left, width-right, y(v), y(v))
		draw(`<text x="%g" y="%.1f" text-anchor="end">%g</text>`, left-8, y(v)+4, v)
	}
	for v := 0.0; v <= seconds+stepX/2; v += stepX {
		draw(`<text x="%.1f" y="%g" text-anchor="middle">%.4g s</text>`, x(v), height-bottom+20, v)
	}
	for i, name := range t.names {
		color := plotColors[i%len(plotColors)]
		var points strings.Builder
		for _, s := range t.traces[name] {
			fmt.Fprintf(&points, "%.1f,%.1f ", x(s.seconds), y(s.megabytes))
		}
		draw(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.TrimSpace(points.String()), color)
		at := top + 20*float64(i)
		draw(`<line x1="%g" x2="%g" y1="%g" y2="%g" stroke="%s" stroke-width="3"/>`, width-right+15, width-right+40, at, at, color)
		draw(`<text x="%g" y="%g">%s</text>`, width-right+46, at+4, name)
	}
	draw(`</svg>`)
	return out.Bytes()
}

// tick returns a round distance between the ticks of an axis of length v.
func tick(v float64) float64 {
	if v <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, part := range []float64{0.1, 0.2, 0.5, 1} {
		if v/(unit*part) <= 10 {
			return unit * part
		}
	}
	return unit
}
