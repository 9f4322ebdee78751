// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/store"
)

// The mirrored collection is determined by the number of its pods. Each pod has its own
// key, UID and version. Everything else is the same in all pods, because a decoder
// allocates it for each pod anyway.
const (
	mirroredNamespaces = 500

	// collectionVersion is newer than the version of any of the pods.
	collectionVersion = "999999999"
)

// identity has the fields in which the pods of the collection differ. Their lengths are
// equal.
type identity struct {
	namespace [12]byte
	name      [36]byte
	uid       [36]byte
	version   [9]byte
}

// identify sets id to that of pod i of n. The pods of a namespace are neighbours, as in
// the lists of an API server.
func (id *identity) identify(i, n int) {
	copy(id.namespace[:], "namespace")
	digits(id.namespace[9:], uint64(i*min(n, mirroredNamespaces)/n), 10)

	set, pod := scramble(uint64(i/20)), scramble(uint64(i)<<32)
	copy(id.name[:], "service-")
	digits(id.name[8:19], uint64(i/20), 10)
	id.name[19] = '-'
	digits(id.name[20:30], set, 16)
	id.name[30] = '-'
	digits(id.name[31:35], pod, 16)
	id.name[35] = "bcdfghjklmnpqrstvwxz"[i%20]

	copy(id.uid[:], "xxxxxxxx-xxxx-4xxx-axxx-xxxxxxxxxxxx")
	digits(id.uid[:8], pod, 16)
	digits(id.uid[9:13], pod>>32, 16)
	digits(id.uid[15:18], pod>>48, 16)
	digits(id.uid[20:23], set, 16)
	digits(id.uid[24:], scramble(pod), 16)

	digits(id.version[:], 100_000_000+uint64(i)*7919%100_000_000, 10)
}

func (id *identity) meta() store.Meta {
	return store.Meta{
		Key:     store.Key{Namespace: string(id.namespace[:]), Name: string(id.name[:])},
		UID:     types.UID(id.uid[:]),
		Version: string(id.version[:]),
	}
}

// metaOf returns the meta of pod i of n.
func metaOf(i, n int) store.Meta {
	var id identity
	id.identify(i, n)
	return id.meta()
}

// digits fills text with the last digits of v.
func digits(text []byte, v, base uint64) {
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = "0123456789abcdef"[v%base]
		v /= base
	}
}

// scramble is the finalizer of splitmix64: a different value for each v.
func scramble(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
	v = (v ^ v>>27) * 0x94d049bb133111eb
	return v ^ v>>31
}

// encoded holds the bytes that are sent for one pod, and the positions at which pods
// differ.
type encoded struct {
	data                          []byte
	namespace, name, uid, version int
}

// encodePod calls wrap for the bytes that are sent for a pod.
func encodePod(wrap func(*corev1.Pod) ([]byte, error)) (*encoded, error) {
	var (
		id  identity
		pod = makePod(0)
	)
	// Letters, which no length or field number here is.
	for i, part := range [][]byte{id.namespace[:], id.name[:], id.uid[:], id.version[:]} {
		copy(part, bytes.Repeat([]byte{"WXYZ"[i]}, len(part)))
	}
	marks := id.meta()
	pod.Namespace, pod.Name = marks.Key.Namespace, marks.Key.Name
	pod.UID, pod.ResourceVersion = marks.UID, marks.Version
	data, err := wrap(pod)
	if err != nil {
		return nil, err
	}
	e := &encoded{data: data}
	for mark, place := range map[string]*int{
		pod.Namespace: &e.namespace, pod.Name: &e.name, string(pod.UID): &e.uid, pod.ResourceVersion: &e.version,
	} {
		if n := bytes.Count(data, []byte(mark)); n != 1 {
			return nil, fmt.Errorf("%s occurs %d times in an encoded pod", mark, n)
		}
		*place = bytes.Index(data, []byte(mark))
	}
	return e, nil
}

// of returns the bytes for a pod. The next call overwrites them.
func (e *encoded) of(id *identity) []byte {
	copy(e.data[e.namespace:], id.namespace[:])
	copy(e.data[e.name:], id.name[:])
	copy(e.data[e.uid:], id.uid[:])
	copy(e.data[e.version:], id.version[:])
	return e.data
}

// listItem encodes a pod of a list in protobuf: field 2.
func listItem(pod *corev1.Pod) ([]byte, error) {
	data, err := pod.Marshal()
	return field(nil, 2, data), err
}

// listHead encodes the part of a list in protobuf before its items, which have this
// number of bytes.
func listHead(meta metav1.ListMeta, items int) ([]byte, error) {
	list, err := (&corev1.PodList{ListMeta: meta}).Marshal()
	if err != nil {
		return nil, err
	}
	kind, err := (&runtime.TypeMeta{APIVersion: "v1", Kind: "PodList"}).Marshal()
	if err != nil {
		return nil, err
	}
	head := field([]byte(protobufMagic), 1, kind)
	head = append(head, 2<<3|2)
	head = binary.AppendUvarint(head, uint64(len(list)+items))
	return append(head, list...), nil
}

// watchFrame encodes an event of a watch in protobuf: its length, and the event with the
// pod and its kind.
func watchFrame(event watch.EventType, pod *corev1.Pod) ([]byte, error) {
	data, err := pod.Marshal()
	if err != nil {
		return nil, err
	}
	return eventFrame(event, runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}, data)
}

// eventFrame is watchFrame for an encoded object of any kind.
func eventFrame(event watch.EventType, kind runtime.TypeMeta, data []byte) ([]byte, error) {
	object, err := (&runtime.Unknown{TypeMeta: kind, Raw: data}).Marshal()
	if err != nil {
		return nil, err
	}
	object = append([]byte(protobufMagic), object...)
	data, err = (&metav1.WatchEvent{Type: string(event), Object: runtime.RawExtension{Raw: object}}).Marshal()
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...), err
}

// bookmark encodes the frame of a bookmark of the collection's version.
func bookmark(endsInitial bool) ([]byte, error) { return bookmarkAt(collectionVersion, endsInitial) }

func bookmarkAt(version string, endsInitial bool) ([]byte, error) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
	if endsInitial {
		pod.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	return watchFrame(watch.Bookmark, pod)
}

// protobufMagic is the prefix of all objects in protobuf.
const protobufMagic = "k8s\x00"

// field appends a protobuf field of bytes.
func field(data []byte, number byte, value []byte) []byte {
	data = append(data, number<<3|2)
	data = binary.AppendUvarint(data, uint64(len(value)))
	return append(data, value...)
}

// accepts returns true if a request accepts protobuf.
func accepts(header string) bool { return strings.Contains(header, runtime.ContentTypeProtobuf) }
