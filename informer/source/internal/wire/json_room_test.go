// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/json"
	"errors"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// repeated is JSON with something in it again and again, up to a size; what has a %d in it
// has another number each time.
func repeated(before, again, after string, size int) []byte {
	raw := []byte(before)
	for i := 0; len(raw) < size; i++ {
		raw = append(append(raw, strings.ReplaceAll(again, "%d", strconv.Itoa(i))...), ',')
	}
	return append(raw[:len(raw)-1], after...)
}

type Bulky struct {
	A int        `json:"a"`
	B [1000]byte `json:"-"`
}

// largeParts has large values of each kind that there is.
type largeParts struct {
	Map      map[string]corev1.Container   `json:"map"`
	Maps     []map[string]corev1.Container `json:"maps"`
	Pointers []map[string]*corev1.PodSpec  `json:"pointers"`
	Slices   [][]corev1.Container          `json:"slices"`
	Embedded []struct {
		*Bulky
	} `json:"embedded"`
	Any any      `json:"any"`
	Own ownParts `json:"own"`
}

// ownParts read themselves, as schemas in a CustomResourceDefinition do.
type ownParts struct {
	Parts  []corev1.Container
	ByName map[string]corev1.Container
}

func (o *ownParts) UnmarshalJSON(raw []byte) error {
	if raw[0] == '{' {
		return json.Unmarshal(raw, &o.ByName)
	}
	return json.Unmarshal(raw, &o.Parts)
}

// allocated is how many bytes f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// What an object takes in memory has a bound, whatever it is made of, and an error says
// where that was.
func TestJSONRoom(t *testing.T) {
	const size = 2 << 20
	limits := Limits{Object: size, Depth: DefaultLimits.Depth}
	large, pods := decoderOf(t, reflect.TypeFor[largeParts](), nil), decoderOf(t, reflect.TypeFor[corev1.Pod](), nil)
	typed := func(d *JSONDecoder) func([]byte) error {
		return func(raw []byte) error { return d.Decode(raw, limits, nil, reflect.New(d.t).Elem()) }
	}
	untyped := func(raw []byte) error {
		_, err := DecodeUnstructured(raw, limits, JSONOptions{})
		return err
	}
	nested := strings.Repeat(`{"":`, 400) + `0` + strings.Repeat(`}`, 400)
	for name, test := range map[string]struct {
		decode               func([]byte) error
		before, again, after string
		refused              bool
	}{
		"empty arrays":    {untyped, `{"a":[`, `[]`, `]}`, false},
		"empty objects":   {untyped, `{"a":[`, `{}`, `]}`, false},
		"small objects":   {untyped, `{"a":[`, `{"":0}`, `]}`, false},
		"members":         {untyped, `{"a":{`, `"":{}`, `}}`, false},
		"numbers":         {untyped, `{"a":[`, `1e3`, `]}`, false},
		"nested objects":  {untyped, `{"a":[`, nested, `]}`, true},
		"in an any":       {typed(large), `{"any":[`, nested, `]}`, true},
		"containers":      {typed(pods), `{"spec":{"containers":[`, `{}`, `]}}`, true},
		"nulls":           {typed(pods), `{"spec":{"containers":[`, `null`, `]}}`, true},
		"volumes":         {typed(pods), `{"spec":{"volumes":[`, `{"rbd":{}}`, `]}}`, false},
		"requests":        {typed(pods), `{"spec":{"containers":[`, `{"resources":{"limits":{"":0}}}`, `]}}`, false},
		"managed fields":  {typed(pods), `{"metadata":{"managedFields":[`, `{}`, `]}}`, false},
		"strings":         {typed(pods), `{"metadata":{"finalizers":[`, `""`, `]}}`, false},
		"values of a map": {typed(large), `{"map":{`, `"%d":{}`, `}}`, false},
		"maps":            {typed(large), `{"maps":[`, `{"":{}}`, `]}`, true},
		"pointers":        {typed(large), `{"pointers":[`, `{"":{}}`, `]}`, true},
		"slices":          {typed(large), `{"slices":[`, `[{}]`, `]}`, true},
		"own":             {typed(large), `{"own":[`, `{}`, `]}`, true},
		"own nulls":       {typed(large), `{"own":[`, `null`, `]}`, true},
		"own map":         {typed(large), `{"own":{`, `"%d":{}`, `}}`, true},
		"own texts":       {typed(large), `{"own":[{"args":[`, `"{null"`, `]}]}`, false},
		"embedded":        {typed(large), `{"embedded":[`, `{"a":1}`, `]}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			raw := repeated(test.before, test.again, test.after, size)
			var err error
			took := allocated(func() { err = test.decode(raw) })
			t.Logf("%.1f bytes of each: %v", float64(took)/float64(len(raw)), err)
			// What is not complete has a stack, and an error some text.
			if bound := int(roomFor(limits)) + 8*len(raw); took > bound {
				t.Errorf("%d bytes make %d, more than %d", len(raw), took, bound)
			}
			var at *Error
			if test.refused != (err != nil) || err != nil && (!errors.As(err, &at) || at.Offset < int64(len(test.before)-1) || !strings.Contains(err.Error(), "not so large")) {
				t.Errorf("refused %v, but %v", test.refused, err)
			}
		})
	}
}

// Small things that read themselves are not looked into.
func TestReachOfSmallThings(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[kruntime.RawExtension](), reflect.TypeFor[json.RawMessage](), reflect.TypeFor[intstr.IntOrString](),
	} {
		if n := reach(typ, map[reflect.Type]bool{}); n > anySize {
			t.Errorf("%v: %d bytes", typ, n)
		}
	}
}

// Elements without a type take room, too.
func TestJSONRoomOfArrays(t *testing.T) {
	d := new(decoder)
	d.begin([]byte(`{"a":[0,0,[0,0,0],[]]}`), DefaultLimits, nil)
	before := d.room
	if _, err := d.object(nil); err != nil {
		t.Fatal(err)
	}
	if used, want := int(before-d.room), mapRoom(1, anySize)+(4+3)*anySize; used != want {
		t.Errorf("%d bytes, not %d", used, want)
	}
}

// There is room for the largest objects that a server has, whatever is in them.
func TestJSONRoomIsEnough(t *testing.T) {
	const size = 3 << 20 // what etcd takes at most, and more than it takes by default
	for name, raw := range map[string][]byte{
		"containers":   repeated(`{"spec":{"containers":[`, `{"name":"c%d","image":"a","resources":{},"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"Always"}`, `]}}`, size),
		"volumes":      repeated(`{"spec":{"volumes":[`, `{"name":"%d","emptyDir":{}}`, `]}}`, size),
		"env":          repeated(`{"spec":{"containers":[{"env":[`, `{"name":"A"}`, `]}]}}`, size),
		"ports":        repeated(`{"spec":{"containers":[{"ports":[`, `{"containerPort":1}`, `]}]}}`, size),
		"labels":       repeated(`{"metadata":{"labels":{`, `"%d":""`, `}}}`, size),
		"finalizers":   repeated(`{"metadata":{"finalizers":[`, `"a/b"`, `]}}`, size),
		"conditions":   repeated(`{"status":{"conditions":[`, `{"type":"A","status":"True"}`, `]}}`, size),
		"fields":       repeated(`{"metadata":{"managedFields":[{"fieldsV1":{`, `"f:%d":{".":{}}`, `}}]}}`, size),
		"points":       repeated(`{"any":[`, `{"x":1}`, `]}`, size),
		"a schema":     repeated(`{"any":{`, `"%d":{"type":"object"}`, `}}`, size),
		"many schemas": repeated(`{"any":[`, `{"a":{"b":{"c":{"type":"string"}}}}`, `]}`, size),
		"own":          repeated(`{"own":[`, `{"name":"c%d","image":"a","resources":{},"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"Always"}`, `]}`, size),
	} {
		if _, err := DecodeUnstructured(raw, DefaultLimits, JSONOptions{}); err != nil {
			t.Errorf("%s, unstructured: %v", name, err)
		}
		var large largeParts
		if err := decoderOf(t, reflect.TypeFor[largeParts](), nil).Decode(raw, DefaultLimits, nil, reflect.ValueOf(&large).Elem()); err != nil {
			t.Errorf("%s, large parts: %v", name, err)
		}
		var pod corev1.Pod
		if err := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil).Decode(raw, DefaultLimits, nil, reflect.ValueOf(&pod).Elem()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
