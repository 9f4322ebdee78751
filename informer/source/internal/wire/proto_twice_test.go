// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
)

// oddField is a field of bytes.
func oddField(number int, value []byte) []byte {
	out := oddUvarint(nil, uint64(number)<<3|2)
	out = oddUvarint(out, uint64(len(value)))
	return append(out, value...)
}

func oddUvarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func oddMarshal(t *testing.T, v interface{ Marshal() ([]byte, error) }) []byte {
	data, err := v.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func oddPod(t *testing.T, d *ProtoDecoder, data []byte) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := d.Decode(&Object{Format: Protobuf, Raw: data}, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// A message that is there twice must not write into what another object has: scalars
// behind pointers.
func TestMergeWritesIntoShared(t *testing.T) {
	uid, gid := int64(1000), int64(1000)
	yes := true
	base := oddMarshal(t, &corev1.PodSecurityContext{RunAsUser: &uid, RunAsGroup: &gid, RunAsNonRoot: &yes})
	root := int64(0)
	more := oddMarshal(t, &corev1.PodSecurityContext{RunAsUser: &root})
	// field 14 of PodSpec is securityContext
	innocent := oddField(2, oddField(14, base))
	twice := oddField(2, append(oddField(14, base), oddField(14, more)...))

	d, err := NewProtoDecoder(reflect.TypeFor[corev1.Pod](), nil, NewShare())
	if err != nil {
		t.Fatal(err)
	}
	var pods []*corev1.Pod
	for range 3 {
		pods = append(pods, oddPod(t, d, innocent))
	}
	var want corev1.Pod
	if err := want.Unmarshal(twice); err != nil || *want.Spec.SecurityContext.RunAsUser != 0 {
		t.Fatal(err, want)
	}
	oddPod(t, d, twice)
	for i, p := range pods {
		if got := *p.Spec.SecurityContext.RunAsUser; got != 1000 {
			t.Errorf("pod %d, decoded before, now has runAsUser %d", i, got)
		}
	}
	if got := *oddPod(t, d, innocent).Spec.SecurityContext.RunAsUser; got != 1000 {
		t.Errorf("and each one that is decoded later too: %d", got)
	}
}

// The same with numbers: they are appended to where there is room, in an array that
// others have; they are not to be changed.
func TestMergeAppendsToShared(t *testing.T) {
	base := oddMarshal(t, &corev1.PodSecurityContext{SupplementalGroups: []int64{1000, 2000, 3000}})
	twice := func(gid int64) []byte {
		more := oddMarshal(t, &corev1.PodSecurityContext{SupplementalGroups: []int64{gid}})
		return oddField(2, append(oddField(14, base), oddField(14, more)...))
	}
	d, err := NewProtoDecoder(reflect.TypeFor[corev1.Pod](), nil, NewShare())
	if err != nil {
		t.Fatal(err)
	}
	var keep []*corev1.Pod
	for range 3 {
		keep = append(keep, oddPod(t, d, oddField(2, oddField(14, base))))
	}
	a := oddPod(t, d, twice(4))
	b := oddPod(t, d, twice(5))
	if g := a.Spec.SecurityContext.SupplementalGroups; g[3] != 4 {
		t.Errorf("a has %v after b was decoded, which has %v", g, b.Spec.SecurityContext.SupplementalGroups)
	}
	runtime.KeepAlive(keep)
}

// Fields that alternate do not cost the square of their number.
func TestQuadratic(t *testing.T) {
	d, err := NewProtoDecoder(reflect.TypeFor[corev1.Pod](), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		data func(n int) []byte
	}{
		{"slice", func(n int) []byte { // containers {} and an unknown field in turns, 5 bytes a pair
			return oddField(2, bytes.Repeat(append(oddField(2, nil), oddField(100, nil)...), n))
		}},
		{"map", func(n int) []byte { // nodeSelector entries
			var spec []byte
			for i := range n {
				spec = append(spec, oddField(7, oddField(1, fmt.Appendf(nil, "%06d", i)))...)
				spec = append(spec, oddField(100, nil)...)
			}
			return oddField(2, spec)
		}},
	} {
		for _, n := range []int{500, 1000, 2000, 4000} {
			data := c.data(n)
			var before, middle, after runtime.MemStats
			runtime.ReadMemStats(&before)
			oddPod(t, d, data)
			runtime.ReadMemStats(&middle)
			var want corev1.Pod
			if err := want.Unmarshal(data); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			ours, theirs := middle.TotalAlloc-before.TotalAlloc, after.TotalAlloc-middle.TotalAlloc
			if ours > 2*theirs {
				t.Errorf("%s: %d bytes make %d bytes, the generated code %d", c.name, len(data), ours, theirs)
			}
		}
	}
}

// An object that is allowed in a list is allowed in an event.
func TestLimitOfEvents(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"x": string(bytes.Repeat([]byte("x"), 1000))}}}
	raw := oddMarshal(t, pod)
	limits := Limits{Object: len(raw), Depth: 100}
	unknown := oddField(2, raw)
	list := append([]byte(protobufMagic), oddField(1, append(oddField(1, []byte("v1")), oddField(2, []byte("PodList"))...))...)
	list = append(list, oddField(2, oddField(2, raw))...)
	n := 0
	if _, err := ReadList(bytes.NewReader(list), limits, nil, func(*Object) error { n++; return nil }); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	frame := append(oddField(1, []byte("ADDED")), oddField(2, oddField(1, append([]byte(protobufMagic), unknown...)))...)
	body := append([]byte{0, 0, byte(len(frame) >> 8), byte(len(frame))}, frame...)
	if _, err := NewWatch(bytes.NewReader(body), limits).Next(); err != nil {
		t.Errorf("the object that was in the list: %v", err)
	}
}

type emptyOne struct{}

func (*emptyOne) Unmarshal([]byte) error { return nil }

type withEmpty struct {
	metav1.TypeMeta
	A *emptyOne `protobuf:"bytes,1,opt,name=a"`
}

func TestZeroSize(t *testing.T) {
	d, err := NewProtoDecoder(reflect.TypeFor[withEmpty](), nil, NewShare())
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		var w withEmpty
		if err := d.Decode(&Object{Raw: oddField(1, oddField(9, []byte("0123456789")))}, &w); err != nil || w.A == nil {
			t.Fatal(err, w)
		}
	}
}

type withInt struct {
	metav1.TypeMeta
	A int   `protobuf:"varint,1,opt,name=a"`
	B int32 `protobuf:"varint,2,opt,name=b"`
}

// An int has 32 bits on some machines.
func TestInt(t *testing.T) {
	d, err := NewProtoDecoder(reflect.TypeFor[withInt](), nil, nil)
	if err != nil {
		t.Skip(err)
	}
	var w withInt
	data := append(oddUvarint([]byte{2 << 3}, 7), oddUvarint([]byte{1 << 3}, 1<<40|1)...)
	if err := d.Decode(&Object{Raw: data}, &w); err != nil {
		t.Fatal(err)
	}
	if w.B != 7 {
		t.Errorf("b was written over: %+v", w)
	}
}

type withOpaque struct {
	metav1.TypeMeta
	A *resourcev1.OpaqueDeviceConfiguration `protobuf:"bytes,1,opt,name=a"`
}

// The same with types that read themselves: runtime.RawExtension writes into the bytes
// that it has.
func TestMergeWritesIntoSharedBytes(t *testing.T) {
	d, err := NewProtoDecoder(reflect.TypeFor[withOpaque](), nil, NewShare())
	if err != nil {
		t.Fatal(err)
	}
	of := func(raw string) []byte {
		return oddField(1, oddMarshal(t, &resourcev1.OpaqueDeviceConfiguration{Driver: "d.example.com", Parameters: kruntime.RawExtension{Raw: []byte(raw)}}))
	}
	var keep [3]withOpaque
	for i := range keep {
		if err := d.Decode(&Object{Raw: of(`{"mine":"yes"}`)}, &keep[i]); err != nil {
			t.Fatal(err)
		}
	}
	var twice withOpaque
	if err := d.Decode(&Object{Raw: append(of(`{"mine":"yes"}`), of(`{"evil":"!!!"}`)...)}, &twice); err != nil {
		t.Fatal(err)
	}
	for i := range keep {
		if got := string(keep[i].A.Parameters.Raw); got != `{"mine":"yes"}` {
			t.Errorf("object %d, decoded before, has %s", i, got)
		}
	}
}
