// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

var v1Protobuf = scheme.Codecs.CodecForVersions(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), nil, corev1.SchemeGroupVersion, nil)

// enveloped is obj as a server sends it.
func enveloped(t testing.TB, obj kruntime.Object) []byte {
	t.Helper()
	data, err := kruntime.Encode(v1Protobuf, obj)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func somePods(n int) *corev1.PodList {
	more := int64(7)
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "123", Continue: "next", RemainingItemCount: &more}}
	for i := range n {
		list.Items = append(list.Items, *makePod(i))
	}
	return list
}

var podDecoder = sync.OnceValues(func() (*ProtoDecoder, error) {
	return NewProtoDecoder(reflect.TypeFor[corev1.Pod](), nil, nil)
})

// readPods reads a list of pods.
func readPods(body io.Reader, limits Limits) (ListMeta, []corev1.Pod, error) {
	d, err := podDecoder()
	if err != nil {
		return ListMeta{}, nil, err
	}
	var pods []corev1.Pod
	list, err := ReadList(body, limits, nil, func(o *Object) error {
		var pod corev1.Pod
		if err := d.Decode(o, &pod); err != nil {
			return err
		}
		if o.Name != pod.Name || o.Namespace != pod.Namespace || o.UID != string(pod.UID) || o.Version != pod.ResourceVersion {
			return fmt.Errorf("said to be %+v", o)
		}
		pods = append(pods, pod)
		return nil
	})
	return list, pods, err
}

func TestProtobufList(t *testing.T) {
	for _, n := range []int{0, 1, 30} {
		want := somePods(n)
		data := enveloped(t, want)
		for name, body := range map[string]io.Reader{
			"at once": bytes.NewReader(data), "byte by byte": iotest.OneByteReader(bytes.NewReader(data)),
			"with the end": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			list, pods, err := readPods(body, DefaultLimits)
			if err != nil {
				t.Fatalf("%d, %s: %v", n, name, err)
			}
			if (list != ListMeta{APIVersion: "v1", Kind: "PodList", Version: "123", Continue: "next", Remaining: 7}) {
				t.Errorf("%d, %s: %+v", n, name, list)
			}
			if !apiequality.Semantic.DeepEqual(pods, append([]corev1.Pod(nil), want.Items...)) {
				t.Errorf("%d, %s: the pods are others", n, name)
			}
		}
	}
}

// A body that is cut off anywhere is an error, which is that of an end that comes too
// early, and says where.
func TestProtobufListCutOff(t *testing.T) {
	data := enveloped(t, somePods(2))
	end := len(data) - len("\x1a\x00\x22\x00") // the names of no encodings, which are not missed
	for n := range end {
		_, _, err := readPods(bytes.NewReader(data[:n]), DefaultLimits)
		var at *Error
		if !errors.As(err, &at) || at.Offset > int64(n) {
			t.Fatalf("cut off at %d of %d: %v", n, len(data), err)
		}
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut off at %d of %d: %v", n, len(data), err)
		}
	}
	for n := range end {
		broken := errors.New("connection reset")
		_, _, err := readPods(io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken)), DefaultLimits)
		if !errors.Is(err, broken) {
			t.Fatalf("broken at %d: %v", n, err)
		}
	}
}

// bytesField is a field of bytes.
func bytesField(number int, value []byte) []byte {
	data := binary.AppendUvarint(nil, uint64(number)<<3|bytesType)
	return append(binary.AppendUvarint(data, uint64(len(value))), value...)
}

// lying is a field of bytes that says it is longer than it is.
func lying(number int, size uint64, value []byte) []byte {
	data := binary.AppendUvarint(nil, uint64(number)<<3|bytesType)
	return append(binary.AppendUvarint(data, size), value...)
}

func join2(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// What makes no sense is an error, and costs no memory.
func TestProtobufListHostile(t *testing.T) {
	magic := []byte(protobufMagic)
	kind := bytesField(1, join2(bytesField(1, []byte("v1")), bytesField(2, []byte("PodList"))))
	pod := bytesField(1, bytesField(1, []byte("a")))
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"nothing":                      {nil, "EOF"},
		"other text":                   {[]byte("<html>"), "neither protobuf nor JSON"},
		"an envelope by itself":        {magic, "holds no list"},
		"no list in it":                {join2(magic, kind), "holds no list"},
		"a list of petabytes":          {join2(magic, kind, lying(2, 1<<60, pod)), "EOF"},
		"a list longer than a number":  {join2(magic, kind, lying(2, 1<<63+1, pod)), "a list of"},
		"an item longer than its list": {join2(magic, kind, bytesField(2, lying(2, 1000, pod))), "behind the end"},
		"an item of gigabytes":         {join2(magic, kind, lying(2, 1<<40, lying(2, 1<<35, pod))), "more than the limit"},
		"an item that is cut":          {join2(magic, kind, lying(2, 1<<40, lying(2, 60<<20, pod))), "EOF"},
		"an endless varint":            {join2(magic, kind, bytesField(2, bytes.Repeat([]byte{0xff}, 20))), "varint"},
		"field 0":                      {join2(magic, kind, bytesField(2, []byte{0x02, 0x00})), "field number 0"},
		"a group":                      {join2(magic, kind, bytesField(2, []byte{0x0b})), "type 3"},
		"metadata that is cut":         {join2(magic, kind, bytesField(2, bytesField(2, lying(1, 100, nil)))), "behind the end"},
		"an encoding":                  {join2(magic, kind, bytesField(2, nil), bytesField(3, []byte("gzip"))), "content encoding"},
		"two lists":                    {join2(magic, kind, bytesField(2, nil), bytesField(2, nil)), "field 2"},
		"a kind after the list":        {join2(magic, bytesField(2, nil), kind), "field 1"},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, pods, err := readPods(bytes.NewReader(c.body), DefaultLimits)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %d pods", name, err, len(pods))
		}
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 4*growth {
			t.Errorf("%s: %d bytes for a body of %d", name, taken, len(c.body))
		}
	}
}

// An error of about or yield ends the reading, and is returned as it is.
func TestReadListStops(t *testing.T) {
	boom := errors.New("boom")
	data := enveloped(t, somePods(3))
	n := 0
	_, err := ReadList(bytes.NewReader(data), DefaultLimits, nil, func(*Object) error { n++; return boom })
	if err != boom || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
	_, err = ReadList(bytes.NewReader(data), DefaultLimits, func(l ListMeta) error {
		if l.Kind != "PodList" || l.Version != "123" {
			t.Errorf("about got %+v", l)
		}
		return boom
	}, func(*Object) error { t.Error("an object"); return nil })
	if err != boom {
		t.Error(err)
	}
}

// frame is an event as a server sends it.
func frame(t testing.TB, kind string, obj kruntime.Object) []byte {
	t.Helper()
	event := metav1.WatchEvent{Type: kind, Object: kruntime.RawExtension{Raw: enveloped(t, obj)}}
	data, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

func TestProtobufWatch(t *testing.T) {
	bookmark := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	data := join2(frame(t, "ADDED", makePod(1)), frame(t, "BOOKMARK", bookmark), frame(t, "DELETED", makePod(1)),
		frame(t, "ERROR", &metav1.Status{Code: 410}), frame(t, "STRANGE", makePod(2)))
	for n := 0; n <= len(data); n++ {
		w := NewWatch(iotest.OneByteReader(bytes.NewReader(data[:n])), DefaultLimits)
		var got []string
		var err error
		for {
			var e *Event
			if e, err = w.Next(); err != nil {
				break
			}
			text := e.Type + " " + e.Object.Kind + " " + e.Object.Name + e.Object.Version
			if e.Object.InitialEventsEnd {
				text += " end"
			}
			got = append(got, text)
		}
		if n == len(data) {
			want := fmt.Sprintf("ADDED Pod %[1]s2, BOOKMARK Pod 9 end, DELETED Pod %[1]s2, ERROR Status , STRANGE Pod %s3", makePod(1).Name, makePod(2).Name)
			if text := strings.Join(got, ", "); text != want || err != io.EOF {
				t.Errorf("got %s, %v; want %s", text, err, want)
			}
			continue
		}
		// At the end of a frame it is the end, in the middle it is too early.
		if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut off at %d: %v", n, err)
		}
		if err == io.EOF && len(join2(frames(data, len(got))...)) != n {
			t.Fatalf("cut off at %d, in the middle of a frame: the end", n)
		}
	}
}

// frames are the first so many frames of data.
func frames(data []byte, n int) (all [][]byte) {
	for range n {
		size := 4 + binary.BigEndian.Uint32(data)
		all, data = append(all, data[:size]), data[size:]
	}
	return all
}

func TestProtobufWatchHostile(t *testing.T) {
	event := func(parts ...[]byte) []byte {
		data := join2(parts...)
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
	}
	added := bytesField(1, []byte("ADDED"))
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"a frame of gigabytes":         {[]byte{0x70, 0, 0, 0}, "more than the limit"},
		"no object":                    {event(added), "without the envelope"},
		"no envelope":                  {event(added, bytesField(2, bytesField(1, []byte("abcdef")))), "without the envelope"},
		"nothing in the envelope":      {event(added, bytesField(2, bytesField(1, []byte(protobufMagic)))), "without an object"},
		"an object that is compressed": {event(added, bytesField(2, bytesField(1, join2([]byte(protobufMagic), bytesField(2, nil), bytesField(3, []byte("x")))))), "content encoding"},
		"metadata that lie":            {event(added, bytesField(2, bytesField(1, join2([]byte(protobufMagic), bytesField(2, lying(1, 99, nil)))))), "behind the end"},
	} {
		e, err := NewWatch(bytes.NewReader(c.body), DefaultLimits).Next()
		if err == nil {
			err = e.Object.Err
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
}

// Messages that are in one another without end do not exhaust the stack.
func TestDepth(t *testing.T) {
	type node struct {
		Below *node `protobuf:"bytes,1,opt,name=below"`
	}
	d, err := NewProtoDecoder(reflect.TypeFor[node](), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	nested := func(n int) []byte {
		var data []byte
		for range n {
			data = bytesField(1, data)
		}
		return data
	}
	if err := d.Decode(&Object{Raw: nested(DefaultLimits.Depth - 1)}, &node{}); err != nil {
		t.Error(err)
	}
	if err := d.Decode(&Object{Raw: nested(20000)}, &node{}); err == nil || !strings.Contains(err.Error(), "in one another") {
		t.Errorf("%.200v", err)
	}
}
