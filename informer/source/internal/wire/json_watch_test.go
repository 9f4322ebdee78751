// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	first  = `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}}`
	second = `{"object":{"metadata":{"name":"b","annotations":{"k8s.io/initial-events-end":"true"}}},"x":[1],"type":"BOOK\u004dARK"}`
	third  = `{"type":"OTHER","object":{}}`
	fourth = `{"type":"ERROR","object":{"kind":"Status"}}`
	events = first + "\n" + second + "  " + third + fourth + "\n"
)

// ends is where an event of them ends.
var ends = []int{len(first), len(first+second) + 1, len(first+second+third) + 3, len(first+second+third+fourth) + 3}

func TestJSONWatch(t *testing.T) {
	for how, reader := range readers {
		w := NewWatch(reader(strings.NewReader(events)), small)
		for i, want := range []struct {
			kind, name string
			end        bool
		}{{"ADDED", "a", false}, {"BOOKMARK", "b", true}, {"OTHER", "", false}, {"ERROR", "", false}} {
			e, err := w.Next()
			if err != nil || e.Type != want.kind || e.Object.Name != want.name || e.Object.InitialEventsEnd != want.end {
				t.Errorf("%s: event %d is %+v, %v", how, i, e, err)
			}
			if i == 0 && (e.Object.Kind != "Pod" || e.Object.APIVersion != "v1" || string(e.Object.Raw) != first[25:81]) {
				t.Errorf("%s: event %d is %+v of %q", how, i, e, e.Object.Raw)
			}
		}
		for range 2 {
			if e, err := w.Next(); err != io.EOF {
				t.Errorf("%s: the end is %+v, %v", how, e, err)
			}
		}
	}
}

// The end is one only between two events.
func TestJSONWatchCutOff(t *testing.T) {
	for how, reader := range readers {
		for n := range len(events) {
			whole := 0
			for _, end := range ends {
				if end <= n {
					whole++
				}
			}
			between := n == 0 || strings.TrimSpace(events[:n]) == events[:ends[max(0, whole-1)]]
			w := NewWatch(reader(strings.NewReader(events[:n])), small)
			var err error
			got := -1
			for ; err == nil; got++ {
				_, err = w.Next()
			}
			var bad *Error
			if got != whole || between != (err == io.EOF) || !between && (!errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &bad) || bad.Offset > int64(n)) {
				t.Errorf("%s: cut off at %d: %d events, %v", how, n, got, err)
			}
		}
	}
}

func TestJSONWatchBad(t *testing.T) {
	for body, offset := range map[string]int64{
		` []`:                              1,
		`{"type":"ADDED"}`:                 16,
		`{"type":"ADDED","object":null}`:   30,
		`{"type":"ADDED","object":[]}`:     28,
		`{"object":{}}`:                    13,
		`{"type":1,"object":{}}`:           8,
		`{"type":"ADDED","object":{"a":}}`: 30,
		` {"type":"ADDED","object":{"a":"` + strings.Repeat("x", 17<<20): 1 + 16<<20 + eventRoom,
	} {
		for how, reader := range readers {
			_, err := NewWatch(reader(strings.NewReader(body)), small).Next()
			var bad *Error
			if !errors.As(err, &bad) || bad.Offset != offset {
				t.Errorf("%s: %.60s: error is %v, not one at %d", how, body, err, offset)
			}
		}
	}
	broken := errors.New("broken")
	if _, err := NewWatch(io.MultiReader(strings.NewReader(first), iotest.ErrReader(broken)), small).Next(); err != nil {
		t.Error(err)
	}
	if _, err := NewWatch(iotest.ErrReader(broken), small).Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// An event is there as soon as its last byte is.
func TestJSONWatchWaitsForNothing(t *testing.T) {
	in, out := io.Pipe()
	defer in.Close()
	w := NewWatch(in, small)
	for range 3 {
		go io.WriteString(out, first)
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJSONWatchAllocates(t *testing.T) {
	const event = `{"type":"ADDED","object":{"kind":"Status","apiVersion":"v1","a":[{"b":[1,true,"x"]}]}}` + "\n"
	w := NewWatch(bytes.NewReader([]byte(strings.Repeat(event, 2000))), small)
	used := testing.AllocsPerRun(1000, func() {
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	})
	if used > 2 { // the kind and the version
		t.Errorf("%v allocations for an event", used)
	}
}
