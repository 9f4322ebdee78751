// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// The encodings of a collection.
const (
	wireProtobuf = "protobuf"     // pods
	wireJSON     = "typed"        // pods, in JSON
	wireWidgets  = "unstructured" // widgets, in JSON
)

// blob holds the encoded items of a collection, one after the other.
type blob struct {
	data []byte
	ends []int
}

func (b *blob) add(data []byte, err error) error {
	b.data = append(b.data, data...)
	b.ends = append(b.ends, len(b.data))
	return err
}

// part returns the bytes of the items [from, to).
func (b *blob) part(from, to int) []byte { return b.data[b.start(from):b.start(to)] }

func (b *blob) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// wireCollection holds everything that is sent of a collection, encoded in advance.
type wireCollection struct {
	form    string
	objects int

	items  blob     // of a list
	added  blob     // the initial events of a watch
	rounds [][]byte // the events of each round of changes of the first objects

	initialEnd, mark, gone []byte // events: two bookmarks, and that the watch is too old
}

// newWireCollection encodes a collection of objects, of which the first ones change in each
// round.
func newWireCollection(form string, objects, changes, rounds int) (*wireCollection, error) {
	c := &wireCollection{form: form, objects: objects}
	for i := range objects {
		var item, event []byte
		var err error
		switch form {
		case wireProtobuf:
			pod := wirePod(i)
			if item, err = listItem(pod); err == nil {
				event, err = watchFrame(watch.Added, pod)
			}
		case wireJSON:
			item, event, err = jsonPod(watch.Added, wirePod(i))
		case wireWidgets:
			if item, err = json.Marshal(wireWidget(i).Object); err == nil {
				event = jsonEvent(watch.Added, item)
			}
		default:
			err = fmt.Errorf("there is no form %q", form)
		}
		if form != wireProtobuf && i > 0 {
			item = append([]byte{','}, item...)
		}
		if err = c.items.add(item, err); err != nil {
			return nil, err
		}
		if err := c.added.add(event, nil); err != nil {
			return nil, err
		}
	}
	for round := range rounds {
		if err := c.change(changes, round+1); err != nil {
			return nil, err
		}
	}
	return c, c.marks()
}

// change encodes the events of one round of changes.
func (c *wireCollection) change(changes, round int) error {
	var events []byte
	for i := range min(changes, c.objects) {
		var event []byte
		var err error
		switch pod := changedPod(i, c.objects, round); c.form {
		case wireProtobuf:
			event, err = watchFrame(watch.Modified, pod)
		case wireJSON:
			_, event, err = jsonPod(watch.Modified, pod)
		default:
			return fmt.Errorf("a %s does not change", widgetKind)
		}
		if err != nil {
			return err
		}
		events = append(events, event...)
	}
	c.rounds = append(c.rounds, events)
	return nil
}

// marks encodes the events without an object.
func (c *wireCollection) marks() error {
	version := strconv.Itoa(c.objects)
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Reason: metav1.StatusReasonExpired, Code: 410, Message: "too old resource version",
	}
	if c.form == wireProtobuf {
		data, err := status.Marshal()
		if err != nil {
			return err
		}
		if c.gone, err = eventFrame(watch.Error, runtime.TypeMeta{APIVersion: "v1", Kind: "Status"}, data); err != nil {
			return err
		}
		for _, ends := range []bool{true, false} {
			frame, err := bookmarkAt(version, ends)
			if err != nil {
				return err
			}
			c.setMark(ends, frame)
		}
		return nil
	}
	data, err := json.Marshal(status)
	if err != nil {
		return err
	}
	c.gone = jsonEvent(watch.Error, data)
	apiVersion, kind := c.kind()
	for _, ends := range []bool{true, false} {
		meta := map[string]any{"resourceVersion": version}
		if ends {
			meta["annotations"] = map[string]any{metav1.InitialEventsAnnotationKey: "true"}
		}
		data, err := json.Marshal(map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta})
		if err != nil {
			return err
		}
		c.setMark(ends, jsonEvent(watch.Bookmark, data))
	}
	return nil
}

func (c *wireCollection) setMark(endsInitial bool, frame []byte) {
	if endsInitial {
		c.initialEnd = frame
		return
	}
	c.mark = frame
}

func (c *wireCollection) kind() (apiVersion, kind string) {
	if c.form == wireWidgets {
		return widgets.GroupVersion().String(), widgetKind
	}
	return "v1", "Pod"
}

// list returns the parts of a list or a page. Like a real server, it puts the metadata of
// custom resources after the items, and that of other resources before them.
func (c *wireCollection) list(from, to int) ([][]byte, error) {
	meta := metav1.ListMeta{ResourceVersion: strconv.Itoa(c.objects)}
	if to < c.objects {
		left := int64(c.objects - to)
		meta.Continue, meta.RemainingItemCount = strconv.Itoa(to), &left
	}
	items := c.items.part(from, to)
	if c.form == wireProtobuf {
		head, err := listHead(meta, len(items))
		return [][]byte{head, items}, err
	}
	items = bytes.TrimPrefix(items, []byte{','})
	metadata, err := json.Marshal(meta)
	if err != nil {
		return nil, err
	}
	apiVersion, kind := c.kind()
	head, tail := fmt.Sprintf(`{"kind":"%sList","apiVersion":%q,"metadata":%s,"items":[`, kind, apiVersion, metadata), "]}\n"
	if c.form == wireWidgets {
		head = fmt.Sprintf(`{"apiVersion":%q,"items":[`, apiVersion)
		tail = fmt.Sprintf(`],"kind":"%sList","metadata":%s}`+"\n", kind, metadata)
	}
	return [][]byte{[]byte(head), items, []byte(tail)}, nil
}

// jsonPod encodes a pod for a list or a watch in JSON. In a list it has no kind.
func jsonPod(event watch.EventType, pod *corev1.Pod) (item, frame []byte, err error) {
	if item, err = json.Marshal(pod); err != nil {
		return nil, nil, err
	}
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	data, err := json.Marshal(pod)
	return item, jsonEvent(event, data), err
}

func jsonEvent(event watch.EventType, object []byte) []byte {
	return fmt.Appendf(nil, `{"type":%q,"object":%s}`+"\n", event, object)
}
