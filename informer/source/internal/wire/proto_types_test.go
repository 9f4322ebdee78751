// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A type that has its own generated Unmarshal, with a field that the planner does not
// know, was decoded by client-go.
type oddOwn struct {
	metav1.TypeMeta
	metav1.ObjectMeta `protobuf:"bytes,1,opt,name=metadata"`
	More              map[string]*corev1.Pod `protobuf:"bytes,2,rep,name=more"`
	read              bool
}

func (o *oddOwn) Unmarshal([]byte) error { o.read = true; return nil }

type oddOwn2 struct {
	metav1.TypeMeta
	metav1.ObjectMeta `protobuf:"bytes,1,opt,name=metadata"`
	More              map[string]*corev1.Pod `protobuf:"bytes,2,rep,name=more"`
}

func (o *oddOwn2) Unmarshal([]byte) error { return nil }

func TestOwnUnmarshal(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[oddOwn](), reflect.TypeFor[oddOwn2]()} {
		if _, err := NewProtoDecoder(typ, nil, nil); err != nil {
			t.Error(typ, err)
		}
	}
}

// TypeMeta is one that is not of Kubernetes, in a type that can be masked all the same.
type TypeMeta struct{ Kind, APIVersion string }
type oddSlim struct {
	TypeMeta          `json:",inline"`
	metav1.ObjectMeta `json:"metadata" protobuf:"bytes,1,opt,name=metadata"`
	Spec              corev1.PodSpec `json:"spec" protobuf:"bytes,2,opt,name=spec"`
}

func (o *oddSlim) Unmarshal([]byte) error { return nil }

func TestSlimMask(t *testing.T) {
	typ, paths := reflect.TypeFor[oddSlim](), []string{"spec.nodeName"}
	if err := CheckPaths(typ, paths); err != nil {
		t.Fatal(err)
	}
	mask, _ := ParseMask(paths)
	if _, err := NewProtoDecoder(typ, mask, nil); err != nil {
		t.Error(err)
	}
}

// One large event does not stay in memory for as long as the watch lives.
func TestBufferStays(t *testing.T) {
	frame := func(n int) []byte {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"x": string(bytes.Repeat([]byte("x"), n))}}}
		f := append(oddField(1, []byte("ADDED")), oddField(2, oddField(1, append([]byte(protobufMagic), oddField(2, oddMarshal(t, pod))...)))...)
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(f))), f...)
	}
	w := NewWatch(bytes.NewReader(append(append(frame(30<<20), frame(1)...), frame(1)...)), DefaultLimits)
	for range 3 {
		if _, err := w.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if c := cap(w.reader.buf); c > 2<<20 {
		t.Errorf("%d MB", c>>20)
	}
}
