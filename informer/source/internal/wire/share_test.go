// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
	"runtime"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
)

func sharingDecoder(t testing.TB, share *Share) *ProtoDecoder {
	t.Helper()
	d, err := NewProtoDecoder(reflect.TypeFor[corev1.Pod](), nil, share)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func decoded(t testing.TB, d *ProtoDecoder, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	data, err := pod.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got := new(corev1.Pod)
	if err := d.Decode(&Object{Raw: data}, got); err != nil {
		t.Fatal(err)
	}
	return got
}

// What is in common goes when the last one goes that has it, and what is left of it is
// forgotten in time.
func TestShareForgets(t *testing.T) {
	share := NewShare()
	d := sharingDecoder(t, share)
	var kept []*corev1.Pod
	for i := range 4 {
		kept = append(kept, decoded(t, d, makePod(i*templates)))
	}
	if &kept[2].Spec.Containers[0] != &kept[3].Spec.Containers[0] {
		t.Fatal("the containers are not in common")
	}
	gone := make(chan bool, 1)
	runtime.AddCleanup(&kept[3].Spec.Containers[0], func(gone chan bool) { gone <- true }, gone)
	runtime.GC()
	select {
	case <-gone:
		t.Fatal("what is used is gone")
	default:
	}
	runtime.KeepAlive(kept)
	kept = nil
	runtime.GC()
	<-gone
	if len(share.parts) == 0 {
		t.Fatal("nothing to forget")
	}
	runtime.GC() // what was inside as well
	share.Sweep()
	if len(share.parts) > 4 { // small things that lie beside others
		t.Errorf("%d of the parts are kept", len(share.parts))
	}
	// It can be in common again.
	for i := range 4 {
		kept = append(kept, decoded(t, d, makePod(i*templates)))
	}
	if &kept[2].Spec.Containers[0] != &kept[3].Spec.Containers[0] {
		t.Error("the containers are not in common again")
	}
}

// Pages of a list, each with a sweep at its end, take time that is linear.
func TestSweepOfPages(t *testing.T) {
	const parts, pages, each = 20_000, 100, 20
	share := NewShare()
	var kept []any
	for i := range parts {
		for range 2 {
			kept = append(kept, unstructuredOf(t, fmt.Sprintf(`{"a":{"id":"number-%d"}}`, i), share))
		}
	}
	if len(share.parts) < parts*9/10 {
		t.Fatalf("%d parts", len(share.parts))
	}
	gone, before := 0, share.finds
	for page := range pages {
		for i := range each {
			kept = append(kept, unstructuredOf(t, fmt.Sprintf(`{"a":{"id":"number-%d"}}`, page*each+i), share))
		}
		swept := share.swept
		share.Sweep()
		if share.swept != swept {
			gone += len(share.parts)
		}
	}
	if finds := share.finds - before; gone > finds+parts {
		t.Errorf("%d parts were gone through for %d that were looked for", gone, finds)
	}
	runtime.KeepAlive(kept)
}

// Objects with nothing in common leave nothing behind but tables that have a bound.
func TestShareOfNothing(t *testing.T) {
	share := NewShare()
	d := sharingDecoder(t, share)
	for i := range 5000 {
		pod := new(corev1.Pod)
		pod.Name = fmt.Sprint("pod-", i)
		pod.Labels = map[string]string{"name": pod.Name}
		pod.Spec.Containers = []corev1.Container{{Name: pod.Name, Image: pod.Name, Args: []string{pod.Name}}}
		decoded(t, d, pod)
	}
	if n := len(share.parts); n > 5 { // the same place in the table of what was seen
		t.Errorf("%d parts of objects that have none in common", n)
	}
	if len(share.texts.at) > textsSize || len(share.seen.at) > seenSize {
		t.Error("the tables have no bound")
	}
}

// fewer reports whether so many looks are about one of vainStep of all.
func fewer(looks, all int) bool { return looks > all/vainStep/2 && looks < 2*all/vainStep }

// Where nothing is in common, it is looked for now and then only; and always again, once
// something is.
func TestShareLooksLess(t *testing.T) {
	share := NewShare()
	d := sharingDecoder(t, share)
	looks := func(from, to int) int {
		before := share.finds
		for i := from; i < to; i++ {
			pod := new(corev1.Pod)
			pod.Labels = map[string]string{"name": fmt.Sprint("pod-", i)}
			decoded(t, d, pod)
		}
		return share.finds - before
	}
	if n := looks(0, vainLooks); n != vainLooks {
		t.Fatalf("%d looks for %d labels", n, vainLooks)
	}
	if n := looks(vainLooks, 2*vainLooks); !fewer(n, vainLooks) {
		t.Errorf("%d looks for %d labels of which there were none twice", n, vainLooks)
	}
	pod := makePod(0)
	labels := map[unsafe.Pointer]bool{}
	var kept []*corev1.Pod
	for range 20 * vainStep {
		kept = append(kept, decoded(t, d, pod))
	}
	for _, pod := range kept[19*vainStep:] {
		labels[reflect.ValueOf(pod.Labels).UnsafePointer()] = true
	}
	if len(labels) != 1 {
		t.Errorf("%d times the same labels", len(labels))
	}
}

// What others have is not changed by an object of which a field comes twice.
func TestSharedIsNotChanged(t *testing.T) {
	share := NewShare()
	d := sharingDecoder(t, share)
	data, err := makePod(0).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var before, twice, after corev1.Pod
	for range 3 {
		before = corev1.Pod{}
		if err := d.Decode(&Object{Raw: data}, &before); err != nil {
			t.Fatal(err)
		}
	}
	want := before.DeepCopy()
	other, err := makePod(1).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&Object{Raw: append(append([]byte{}, data...), other...)}, &twice); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(&Object{Raw: data}, &after); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&before, want) || !reflect.DeepEqual(&after, want) {
		t.Error("what is shared was changed")
	}
	if n := len(twice.Spec.Containers); n != 4 {
		t.Errorf("%d containers of two and two", n)
	}
}
