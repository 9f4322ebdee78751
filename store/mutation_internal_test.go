// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
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
		d := newMutationDetector("things", func(message string) { found = append(found, message) })
		d.during(func() { run(watchedSink[mutable]{Sink: s, detector: d}) })
	})
	return found
}

func applied(sink Sink[mutable], obj mutable) mutable {
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
			a := applied(sink, newMutable("a"))
			time.Sleep(5 * time.Second)
			_ = a.Labels["app"]
		}, 0},
		"modified": {func(sink Sink[mutable]) {
			applied(sink, newMutable("a"))
			b := applied(sink, newMutable("b"))
			time.Sleep(3500 * time.Millisecond)
			spoil(sink, b)
			time.Sleep(time.Second)
		}, 2},
		"modified at last": {func(sink Sink[mutable]) { applied(sink, newMutable("b")).Labels["app"] = "mine" }, 1},
		"modified within Apply": {func(sink Sink[mutable]) {
			s := sink.(watchedSink[mutable])
			s.Sink = modifier{s.Sink}
			applied(s, newMutable("b"))
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
			b := applied(sink, newMutable("b"))
			time.Sleep(2 * time.Minute)
			spoil(sink, b)
		}, 1},
		"after four": {func(sink Sink[mutable]) {
			b := applied(sink, newMutable("b"))
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

// modifier modifies the objects that it gets.
type modifier struct{ Sink[mutable] }

func (m modifier) Apply(ctx context.Context, meta Meta, obj mutable) error {
	obj.Labels["app"] = "mine"
	return m.Sink.Apply(ctx, meta, obj)
}

// What is no object, or none that has a copy, is not looked at.
func TestMutationOfNothing(t *testing.T) {
	d := newMutationDetector("things", func(message string) { t.Error(message) })
	type plain struct{ labels map[string]string }
	p := &plain{map[string]string{}}
	d.add(Meta{}, p)
	d.add(Meta{}, nil)
	d.add(Meta{}, mutable(nil))
	p.labels["a"] = "b"
	d.look()
	if len(d.copies) > 0 {
		t.Errorf("%d are looked at", len(d.copies))
	}
}

// found returns what a detector finds after use has had an object of it.
func found(obj runtime.Object, use func()) (messages []string) {
	d := newMutationDetector("things", func(message string) { messages = append(messages, message) })
	d.add(Meta{Key: Key{Name: "a"}}, obj)
	use()
	d.look()
	return messages
}

// To read a quantity is no modification, though it changes what the quantity keeps of
// itself. To set one is.
func TestMutationOfQuantities(t *testing.T) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, test := range map[string]struct {
		use      func(limit *resource.Quantity, pod *corev1.Pod)
		modifies bool
	}{
		"size":        {func(_ *resource.Quantity, pod *corev1.Pod) { _ = pod.Size() }, false},
		"text":        {func(limit *resource.Quantity, _ *corev1.Pod) { _ = limit.String() }, false},
		"text, twice": {func(limit *resource.Quantity, pod *corev1.Pod) { _, _ = limit.String(), pod.Size() }, false},
		"compared": {func(limit *resource.Quantity, _ *corev1.Pod) {
			other := resource.MustParse("1")
			other.AsDec()
			limit.Cmp(other)
		}, false},
		"set":          {func(limit *resource.Quantity, _ *corev1.Pod) { limit.Set(7) }, true},
		"read and set": {func(limit *resource.Quantity, pod *corev1.Pod) { _ = pod.Size(); limit.Add(resource.MustParse("1")) }, true},
		"format":       {func(limit *resource.Quantity, _ *corev1.Pod) { limit.Format = resource.DecimalSI }, true},
		"in a map": {func(_ *resource.Quantity, pod *corev1.Pod) {
			pod.Spec.Containers[0].Resources.Limits[corev1.ResourceCPU] = resource.MustParse("2")
		}, true},
		"no longer there": {func(_ *resource.Quantity, pod *corev1.Pod) { pod.Spec.Volumes[0].EmptyDir.SizeLimit = nil }, true},
	} {
		limit := resource.NewQuantity(1<<30, resource.BinarySI) // as decoded: it has no text
		pod := &corev1.Pod{Spec: corev1.PodSpec{
			Volumes:    []corev1.Volume{{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: limit}}}},
			Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: *resource.NewQuantity(1, resource.DecimalSI)}}}},
		}}
		if got := found(pod, func() { test.use(limit, pod) }); len(got) > 0 != test.modifies {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// small is an object without content in JSON.
type small struct {
	metav1.TypeMeta
	count int
	names map[string][]string
	next  *small
	limit resource.Quantity
	when  any
	call  func()
}

func (s *small) DeepCopyObject() runtime.Object {
	c := *s
	c.names = map[string][]string{}
	for k, v := range s.names {
		c.names[k] = slices.Clone(v)
	}
	if s.next == s {
		c.next = &c
	}
	return &c
}

// What is modified is found in fields of any name, and shown though JSON does not show it.
func TestMutationOfSmallTypes(t *testing.T) {
	for name, test := range map[string]struct {
		use  func(s *small)
		want string // of the message; empty: there is none
	}{
		"read":       {func(s *small) { _, _ = s.limit.String(), s.names["x"] }, ""},
		"a number":   {func(s *small) { s.count = 4711 }, "4711"},
		"an element": {func(s *small) { s.names["x"][1] = "mine" }, "mine"},
		"a key":      {func(s *small) { s.names["mine"] = nil }, "mine"},
		"a length":   {func(s *small) { s.names["x"] = append(s.names["x"], "mine") }, "mine"},
		"a type":     {func(s *small) { s.when = int64(4711) }, "4711"},
		"to nil":     {func(s *small) { s.names = nil }, "nil"},
		"a pointer":  {func(s *small) { s.next = nil }, "nil"},
		"a quantity": {func(s *small) { s.limit.Set(4711) }, "4711"},
	} {
		s := &small{names: map[string][]string{"x": {"a", "b"}}, limit: *resource.NewQuantity(1, resource.BinarySI), when: 1}
		s.next = s
		got := found(s, func() { test.use(s) })
		if len(got) != 1 && test.want != "" || len(got) > 0 && (test.want == "" || !strings.Contains(got[0], test.want)) {
			t.Errorf("%s: found %q, want %q in it", name, got, test.want)
		}
	}
}

// What has no copy, or none that is equal to it, is not looked at.
func TestMutationOfHandMade(t *testing.T) {
	by := func(v any) runtime.Object {
		return &unstructured.Unstructured{Object: map[string]any{"n": v, "labels": map[string]any{}}}
	}
	for name, obj := range map[string]runtime.Object{
		"int": by(1), "NaN": by(math.NaN()), "function": &small{names: map[string][]string{}, call: func() {}}, "strange": by(struct{}{}),
	} {
		if got := found(obj, func() {}); len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
	good := by(int64(1)).(*unstructured.Unstructured)
	if got := found(good, func() { good.Object["n"] = int64(2) }); len(got) != 1 {
		t.Errorf("int64: %q", got)
	}
}

func (d *mutationDetector) kept() (copies, pointers int) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.copies), len(d.by)
}

// An object that is applied again is copied once, as it was at first, and looked at for as
// long as from then on.
func TestMutationToldAgain(t *testing.T) {
	got := detected(t, func(sink Sink[mutable]) {
		d := sink.(watchedSink[mutable]).detector
		a := applied(sink, newMutable("b"))
		for range 9 {
			time.Sleep(100500 * time.Millisecond)
			applied(sink, a)
		}
		if copies, pointers := d.kept(); copies != 1 || pointers != 1 {
			t.Errorf("%d copies, %d pointers are kept", copies, pointers)
		}
		time.Sleep(100 * time.Second)
		spoil(sink, a)
	})
	if len(got) != 1 {
		t.Errorf("found %q", got)
	}
	if got := detected(t, func(sink Sink[mutable]) {
		applied(sink, newMutable("a"))
		time.Sleep(3 * time.Minute)
		if copies, pointers := sink.(watchedSink[mutable]).detector.kept(); copies+pointers != 0 {
			t.Errorf("%d copies, %d pointers are kept", copies, pointers)
		}
	}); len(got) > 0 {
		t.Errorf("found %q", got)
	}
}

// Of many that are modified some are shown.
func TestMutationsShown(t *testing.T) {
	got := detected(t, func(sink Sink[mutable]) {
		for i := range 25 {
			applied(sink, newMutable(fmt.Sprint("n", i))).Labels["app"] = "mine"
		}
	})
	if len(got) != 1 || strings.Count(got[0], "as it was") != 10 || !strings.Contains(got[0], "15 more") || !strings.Contains(got[0], "n9") {
		t.Errorf("found %q", got)
	}
}

// Where nothing is to be found out the sink is called as it is.
func TestMutationDetectorIsOff(t *testing.T) {
	s, err := New(Config[mutable]{})
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
		"not sharing": {modifier{s}, true, false},
	} {
		detectMutations = test.on
		watched, during := DetectMutations("things", test.sink)
		if _, ok := watched.(watchedSink[mutable]); ok != test.watched || !ok && watched != test.sink {
			t.Errorf("%s: %T is called", name, watched)
		}
		if IsSharing(watched) != IsSharing(test.sink) {
			t.Errorf("%s: what is called shares objects: %v", name, IsSharing(watched))
		}
		ran := false
		during(func() { ran = true })
		if !ran {
			t.Errorf("%s: it did not run", name)
		}
	}
}
