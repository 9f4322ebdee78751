// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
)

// common is what all that is compared with an oracle has in common.
var common = NewShare()

// sameShared compares what is made with a Share, once and again, with what is made
// without one.
func sameShared(t *testing.T, decode func(*Share) (any, error), want any, wantErr error) {
	t.Helper()
	clear(common.vain.at)
	var kept []any // which keeps alive what is found
	for i := range 4 {
		got, err := decode(common)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("shared, the %d. time: %v, not %v", i, err, wantErr)
		}
		sayQuantities(reflect.ValueOf(got))
		if err == nil && !reflect.DeepEqual(got, want) {
			t.Fatalf("shared, the %d. time: %s, not %s", i, toJSON(t, got), toJSON(t, want))
		}
		kept = append(kept, got)
	}
	runtime.KeepAlive(kept)
}

func unstructuredOf(t testing.TB, raw string, share *Share) map[string]any {
	t.Helper()
	got, err := DecodeUnstructured([]byte(raw), DefaultLimits, JSONOptions{Share: share})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func podOf(t testing.TB, d *JSONDecoder, raw []byte, share *Share) *corev1.Pod {
	t.Helper()
	pod := new(corev1.Pod)
	if err := d.Decode(raw, DefaultLimits, share, reflect.ValueOf(pod).Elem()); err != nil {
		t.Fatal(err)
	}
	return pod
}

// at is what is at a path in an object.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = v.(map[string]any)[step]
		case int:
			v = v.([]any)[step]
		}
	}
	return v
}

func address(v any) unsafe.Pointer { return reflect.ValueOf(v).UnsafePointer() }

// Whole parts of unstructured objects are in common, of others only strings.
func TestUnstructuredShared(t *testing.T) {
	last := func(share *Share) (a, b map[string]any) {
		var kept []map[string]any
		for i := range 4 {
			raw := toJSON(t, makePod(i*templates))
			kept = append(kept, unstructuredOf(t, string(raw), share))
			if want := unstructuredOf(t, string(raw), nil); !reflect.DeepEqual(kept[i], want) {
				t.Fatalf("%v, not %v", kept[i], want)
			}
		}
		return kept[2], kept[3]
	}
	paths := [][]any{
		{"metadata", "labels"}, {"metadata", "ownerReferences"}, {"spec", "containers"}, {"spec", "volumes"},
		{"metadata", "managedFields", 0, "fieldsV1"}, // in what is not equal
	}
	a, b := last(NewShare())
	for _, path := range paths {
		if address(at(a, path...)) != address(at(b, path...)) {
			t.Errorf("%v: not in common", path)
		}
	}
	for name, share := range map[string]*Share{"texts": NewTexts(), "nothing": nil} {
		a, b := last(share)
		for _, path := range paths {
			if address(at(a, path...)) == address(at(b, path...)) {
				t.Errorf("%s: %v are in common", name, path)
			}
		}
	}
}

// Whole parts of typed objects are in common, without room to spare.
func TestTypedShared(t *testing.T) {
	d := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil)
	var kept []*corev1.Pod
	last := func(share *Share) (a, b *corev1.Pod) {
		kept = nil
		for i := range 4 {
			raw := toJSON(t, makePod(i*templates))
			kept = append(kept, podOf(t, d, raw, share))
			if want := podOf(t, d, raw, nil); !reflect.DeepEqual(kept[i], want) {
				t.Fatalf("%v, not %v", kept[i], want)
			}
		}
		return kept[2], kept[3]
	}
	parts := func(p *corev1.Pod) []any {
		return []any{p.Labels, p.OwnerReferences, p.Spec.Containers, p.Spec.Volumes, p.ManagedFields[0].FieldsV1}
	}
	a, b := last(NewShare())
	for i, part := range parts(a) {
		if address(part) != address(parts(b)[i]) {
			t.Errorf("%T is not in common", part)
		}
	}
	for i, pod := range kept {
		if s := pod.Spec.Containers[1].Env; cap(s) != len(s) { // equal to that of the first one
			t.Errorf("pod %d: %d variables with room for %d", i, len(s), cap(s))
		}
	}
	for name, share := range map[string]*Share{"texts": NewTexts(), "nothing": nil} {
		a, b := last(share)
		for i, part := range parts(a) {
			if address(part) == address(parts(b)[i]) {
				t.Errorf("%s: a %T is in common", name, part)
			}
		}
	}
}

// The same bytes are something else under another mask, in another field, as another
// type.
func TestJSONSharedApart(t *testing.T) {
	share := NewShare()
	const same = `{"a":{"id":"0123456789","uniqueItems":true,"not":{"id":"a","uniqueItems":true}}}`
	type other struct {
		ID string `json:"id,omitempty"`
	}
	type types struct {
		Properties map[string]schema `json:"properties,omitempty"`
		Any        any               `json:"any,omitempty"`
		Others     map[string]*other `json:"others,omitempty"`
		Values     map[string]any    `json:"values,omitempty"`
	}
	raw := []byte(`{"properties":` + same + `,"any":` + same + `,"others":` + same + `,"values":` + same + `}`)
	var decoders []*JSONDecoder
	masks := []Mask{nil}
	for _, paths := range [][]string{{"properties.id", "any.a.id"}, {"properties[a].uniqueItems", "any[a].uniqueItems", "values[a].not.id"}, {"properties.not.id", "any.a.not", "others"}} {
		mask := Mask{}
		for _, path := range paths {
			parts, err := split(path)
			if err != nil {
				t.Fatal(err)
			}
			mask.add(parts)
		}
		masks = append(masks, mask)
	}
	for _, mask := range masks {
		decoders = append(decoders, decoderOf(t, reflect.TypeFor[types](), mask))
	}
	var kept []any
	for range 4 {
		for i, d := range decoders {
			var got, want types
			if err := d.Decode(raw, DefaultLimits, share, reflect.ValueOf(&got).Elem()); err != nil {
				t.Fatal(err)
			}
			if err := d.Decode(raw, DefaultLimits, nil, reflect.ValueOf(&want).Elem()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v: %s, not %s", masks[i], toJSON(t, got), toJSON(t, want))
			}
			object, err := DecodeUnstructured(raw, DefaultLimits, JSONOptions{Mask: masks[i], Share: share})
			alone, err2 := DecodeUnstructured(raw, DefaultLimits, JSONOptions{Mask: masks[i]})
			if err != nil || err2 != nil || !reflect.DeepEqual(object, alone) {
				t.Errorf("%v: %v, not %v, %v %v", masks[i], object, alone, err, err2)
			}
			kept = append(kept, got, object)
		}
	}
	if len(share.parts) == 0 {
		t.Error("nothing was shared")
	}
	runtime.KeepAlive(kept)
}

// What others have is not changed by an object in which a name comes twice.
func TestJSONSharedIsNotChanged(t *testing.T) {
	share := NewShare()
	d := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil)
	raw := toJSON(t, makePod(0))
	var kept []*corev1.Pod
	for range 3 {
		kept = append(kept, podOf(t, d, raw, share))
	}
	want := kept[0].DeepCopy()
	other := toJSON(t, makePod(1))
	twice := slices.Concat(raw[:len(raw)-1], []byte(","), other[1:])
	if got, want := podOf(t, d, twice, share), podOf(t, d, twice, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, not %s", toJSON(t, got), toJSON(t, want))
	}
	kept = append(kept, podOf(t, d, raw, share))
	for i, pod := range kept {
		if !reflect.DeepEqual(pod, want) {
			t.Errorf("pod %d was changed", i)
		}
	}
}

// How deep something may be nested does not depend on what was made before.
func TestJSONSharedDepth(t *testing.T) {
	share := NewShare()
	const nested = `{"not":{"not":{"not":{"id":"0123456789"}}}}`
	var kept []any
	for range 4 {
		kept = append(kept, unstructuredOf(t, `{"not":`+nested+`}`, share))
	}
	if address(at(kept[2], "not")) != address(at(kept[3], "not")) {
		t.Fatal("not in common")
	}
	deeper := []byte(`{"a":{"not":` + nested + `}}`)
	for depth, ok := range map[int]bool{6: true, 5: false} {
		_, err := DecodeUnstructured(deeper, Limits{Depth: depth}, JSONOptions{Share: share})
		if (err == nil) != ok {
			t.Errorf("6 deep, where %d are allowed: %v", depth, err)
		}
	}
	runtime.KeepAlive(kept)
}

// Looking takes time that is linear: all is scanned once, and hashed some times.
func TestJSONSharedLinear(t *testing.T) {
	const levels = 5000
	raw := []byte(`{"a":` + strings.Repeat(`[`, levels) + `"0123456789"` + strings.Repeat(`]`, levels) + `}`)
	d := new(decoder)
	d.begin(raw, asOracle, NewShare())
	if _, err := d.object(nil); err != nil {
		t.Fatal(err)
	}
	if hashed := hashedTimes*len(raw) - d.spare; hashed > hashedTimes*len(raw) || hashed < len(raw) {
		t.Errorf("%d bytes were hashed of %d", hashed, len(raw))
	}
	if len(d.noted) != levels || d.noted[0].start != len(`{"a":`) {
		t.Errorf("%d of %d levels noted, from %v on", len(d.noted), levels, d.noted[:1])
	}
	// What has no end is scanned once as well.
	d.begin(raw[:levels/2], asOracle, NewShare())
	if _, err := d.object(nil); err == nil || d.scanned != levels/2 || len(d.noted) != 0 {
		t.Errorf("%v: %d bytes scanned, %d noted", err, d.scanned, len(d.noted))
	}
	// What is not noted costs no memory.
	many := []byte(`{"a":[` + strings.Repeat(`[],`, 4*mostNoted) + `0]}`)
	d.begin(many, asOracle, NewShare())
	if _, err := d.object(nil); err != nil || cap(d.noted) > 2*mostNoted || d.scanned != len(many) {
		t.Errorf("%v, room for %d noted, %d scanned", err, cap(d.noted), d.scanned)
	}
}

// Where nothing is in common it is looked for now and then only, and at other places as
// before.
func TestJSONSharedLooksLess(t *testing.T) {
	type object struct {
		A, B map[string]any
		C    []schema
	}
	typed := decoderOf(t, reflect.TypeFor[object](), nil)
	for name, decode := range map[string]func([]byte, *Share) (b any, err error){
		"unstructured": func(raw []byte, share *Share) (any, error) {
			o, err := DecodeUnstructured(raw, DefaultLimits, JSONOptions{Share: share})
			return o["B"], err
		},
		"typed": func(raw []byte, share *Share) (any, error) {
			var o object
			err := typed.Decode(raw, DefaultLimits, share, reflect.ValueOf(&o).Elem())
			return o.B, err
		},
	} {
		share := NewShare()
		looks := func(from, to int) (n int, last any) {
			before := share.finds
			same := map[unsafe.Pointer]bool{}
			for i := from; i < to; i++ {
				b, err := decode(fmt.Appendf(nil, `{"A":{"id":"%d"},"B":{"id":"0123456789"},"C":[{"id":"%d"}]}`, i, -i), share)
				if err != nil {
					t.Fatal(err)
				}
				if i >= from+2 {
					same[address(b)] = true
				}
				last = b
			}
			if len(same) != 1 {
				t.Errorf("%s: %d times the same", name, len(same))
			}
			return share.finds - before, last
		}
		n, last := looks(1000, 1000+vainLooks)
		m, _ := looks(1000+vainLooks, 1000+2*vainLooks)
		places := n/vainLooks - 1 // but for that of B
		if places < 2 || !fewer(m-vainLooks, places*vainLooks) {
			t.Errorf("%s: %d looks, then %d", name, n, m)
		}
		runtime.KeepAlive(last)
	}
}
