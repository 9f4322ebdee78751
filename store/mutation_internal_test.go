// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type mutable = *metav1.PartialObjectMetadata

func newMutable(name string) mutable {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}}}
}

// detected runs a detector that notes what it finds.
func detected(t *testing.T, run func(sink Sink[mutable])) (found []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config[mutable]{})
		if err != nil {
			t.Fatal(err)
		}
		d := &mutationDetector{name: "things", failed: func(message string) { found = append(found, message) }}
		d.during(func() { run(watchedSink[mutable]{Sink: s, detector: d}) })
	})
	return found
}

func told(sink Sink[mutable], obj mutable) mutable {
	if err := sink.Apply(context.Background(), MetaOf(obj), obj); err != nil {
		panic(err)
	}
	return obj
}

// spoil modifies an object between two looks, in a way that is no race.
func spoil(sink Sink[mutable], obj mutable) {
	synctest.Wait()
	d := sink.(watchedSink[mutable]).detector
	d.mu.Lock()
	defer d.mu.Unlock()
	obj.Labels["app"] = "mine"
}

// A modified object is found within a second, and at the end; one that is read is not.
func TestMutationIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		run   func(sink Sink[mutable])
		found int
	}{
		"read": {func(sink Sink[mutable]) {
			a := told(sink, newMutable("a"))
			time.Sleep(5 * time.Second)
			_ = a.Labels["app"]
		}, 0},
		"modified": {func(sink Sink[mutable]) {
			told(sink, newMutable("a"))
			b := told(sink, newMutable("b"))
			time.Sleep(3500 * time.Millisecond)
			spoil(sink, b)
			time.Sleep(time.Second)
		}, 2},
		"modified at last": {func(sink Sink[mutable]) { told(sink, newMutable("b")).Labels["app"] = "mine" }, 1},
		"modified within Apply": {func(sink Sink[mutable]) {
			s := sink.(watchedSink[mutable])
			s.Sink = modifier{s.Sink}
			told(s, newMutable("b"))
		}, 1},
		"deleted": {func(sink Sink[mutable]) {
			last := newMutable("b")
			if err := sink.Delete(context.Background(), MetaOf(last), last, true); err != nil {
				panic(err)
			}
			last.Labels["app"] = "mine"
		}, 1},
		"deleted and not known": {func(sink Sink[mutable]) {
			last := newMutable("b")
			if err := sink.Delete(context.Background(), MetaOf(last), nil, false); err != nil {
				panic(err)
			}
			last.Labels["app"] = "mine"
		}, 0},
		"after two minutes": {func(sink Sink[mutable]) {
			time.Sleep(100500 * time.Millisecond)
			b := told(sink, newMutable("b"))
			time.Sleep(2 * time.Minute)
			spoil(sink, b)
		}, 1},
		"after four": {func(sink Sink[mutable]) {
			b := told(sink, newMutable("b"))
			time.Sleep(4*time.Minute + 5*time.Second)
			spoil(sink, b)
		}, 0},
	} {
		found := detected(t, test.run)
		if len(found) != test.found {
			t.Errorf("%s: found %d times, want %d: %q", name, len(found), test.found, found)
		}
		for _, message := range found {
			for _, part := range []string{"cache things modified", MetaOf(newMutable("b")).String(), "web", "mine"} {
				if !strings.Contains(message, part) {
					t.Errorf("%s: %q lacks %q", name, message, part)
				}
			}
		}
	}
}

// modifier modifies what it is told.
type modifier struct{ Sink[mutable] }

func (m modifier) Apply(ctx context.Context, meta Meta, obj mutable) error {
	obj.Labels["app"] = "mine"
	return m.Sink.Apply(ctx, meta, obj)
}

// What is no object, or none that has a copy, is not looked at.
func TestMutationOfNothing(t *testing.T) {
	d := &mutationDetector{failed: func(message string) { t.Error(message) }}
	type plain struct{ labels map[string]string }
	p := &plain{map[string]string{}}
	d.add(Meta{}, p)
	d.add(Meta{}, nil)
	d.add(Meta{}, mutable(nil))
	p.labels["a"] = "b"
	d.look()
	if len(d.young) > 0 {
		t.Errorf("%d are looked at", len(d.young))
	}
}

// Where nothing is to be found out the sink is called as it is.
func TestMutationDetectorIsOff(t *testing.T) {
	s, err := New(Config[mutable]{})
	if err != nil {
		t.Fatal(err)
	}
	fifo, err := NewFIFO(MetaNamespaceKeyFunc[mutable])
	if err != nil {
		t.Fatal(err)
	}
	was := detectMutations
	defer func() { detectMutations = was }()
	for name, test := range map[string]struct {
		sink    Sink[mutable]
		on      bool
		watched bool
	}{
		"off":         {s, false, false},
		"on":          {s, true, true},
		"FIFO":        {fifo.Sink(), true, true},
		"not sharing": {modifier{s}, true, false},
	} {
		detectMutations = test.on
		watched, during := DetectMutations("things", test.sink)
		if _, ok := watched.(watchedSink[mutable]); ok != test.watched || !ok && watched != test.sink {
			t.Errorf("%s: %T is called", name, watched)
		}
		ran := false
		during(func() { ran = true })
		if !ran {
			t.Errorf("%s: it did not run", name)
		}
	}
}
