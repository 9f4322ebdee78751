// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/intstr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// schema is as the schemas of custom resources are: it refers to itself.
type schema struct {
	ID         string            `json:"id,omitempty"`
	Default    *any              `json:"default,omitempty"`
	Maximum    *float64          `json:"maximum,omitempty"`
	MaxItems   *int64            `json:"maxItems,omitempty"`
	Unique     bool              `json:"uniqueItems,omitempty"`
	AllOf      []schema          `json:"allOf,omitempty"`
	Not        *schema           `json:"not,omitempty"`
	Properties map[string]schema `json:"properties,omitempty"`
	Preserve   *bool             `json:"x-kubernetes-preserve-unknown-fields,omitempty"`
}

type word string

type inner struct {
	A string `json:"a"`
	B *word  `json:"b,omitempty"`
}

type Deep struct {
	A     int    `json:"a"` // hidden by that of inner, which is as deep: neither counts
	Depth uint8  `json:"depth"`
	Same  string `json:"same"`
}

// odd has what there is in structs.
type odd struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	inner
	*Deep `json:",omitempty"`

	Same     string `json:"same"`
	Untagged float32
	Ignored  string `json:"-"`
	//lint:ignore U1000 it is there to be left alone
	hidden string

	Bytes   []byte                       `json:"bytes"`
	Words   []word                       `json:"words"`
	Maps    map[word]map[string][]*inner `json:"maps"`
	Texts   map[string]string            `json:"texts"`
	Any     any                          `json:"any"`
	Small   int8                         `json:"small"`
	Large   uint64                       `json:"large"`
	Pointer **int32                      `json:"pointer"`

	Time      metav1.Time          `json:"time"`
	Times     []*metav1.MicroTime  `json:"times"`
	Duration  metav1.Duration      `json:"duration"`
	Plain     time.Time            `json:"plain"`
	Quantity  *resource.Quantity   `json:"quantity"`
	Port      intstr.IntOrString   `json:"port"`
	Extension runtime.RawExtension `json:"extension"`
	Raw       json.RawMessage      `json:"raw"`
	Schema    schema               `json:"schema"`
}

func decoderOf(tb testing.TB, t reflect.Type, mask Mask) *JSONDecoder {
	tb.Helper()
	d, err := NewJSONDecoder(t, mask)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// asOracle are the limits that the oracle has.
var asOracle = Limits{Object: math.MaxInt, Depth: 10000}

// sameTyped compares with what sigs.k8s.io/json makes of raw.
func sameTyped(t *testing.T, d *JSONDecoder, raw []byte) {
	t.Helper()
	got, want := reflect.New(d.t), reflect.New(d.t)
	err := d.Decode(raw, asOracle, nil, got.Elem())
	oracleErr := utiljson.Unmarshal(raw, want.Interface())
	if oracleErr == nil && strings.TrimSpace(string(raw)) == "null" {
		oracleErr = errors.New("null")
	}
	if (err == nil) != (oracleErr == nil) {
		t.Fatalf("%v of %q: %v, but the oracle says %v", d.t, raw, err, oracleErr)
	}
	sayQuantities(got)
	sayQuantities(want)
	equal := reflect.DeepEqual(got.Interface(), want.Interface())
	if d.t != reflect.TypeFor[odd]() { // which has what is not exported
		equal = equal && apiequality.Semantic.DeepEqual(got.Interface(), want.Interface())
	}
	if err == nil && !equal {
		t.Fatalf("%v of %q\nis  %s\nnot %s", d.t, raw, toJSON(t, got.Interface()), toJSON(t, want.Interface()))
	}
	var bad *Error
	if err != nil && (!errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > int64(len(raw))) {
		t.Fatalf("%v of %q: %v", d.t, raw, err)
	}
	sameShared(t, func(share *Share) (any, error) {
		got := reflect.New(d.t)
		return got.Interface(), d.Decode(raw, asOracle, share, got.Elem())
	}, got.Interface(), err)
}

var typedTypes = []reflect.Type{
	reflect.TypeFor[corev1.Pod](), reflect.TypeFor[corev1.Service](), reflect.TypeFor[corev1.Node](), reflect.TypeFor[corev1.Secret](),
	reflect.TypeFor[appsv1.Deployment](), reflect.TypeFor[schema](), reflect.TypeFor[struct{ A nested }](), reflect.TypeFor[odd](), reflect.TypeFor[metav1.PartialObjectMetadata](),
}

func TestTypedRandom(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(1), serializer.NewCodecFactory(runtime.NewScheme())).MaxDepth(12)
	for _, typ := range typedTypes {
		if typ.PkgPath() == reflect.TypeFor[odd]().PkgPath() || typ.Name() == "" {
			continue // of what it has, not all can be filled
		}
		d := decoderOf(t, typ, nil)
		for range 30 {
			object := reflect.New(typ)
			fill.Fill(object.Interface())
			raw := toJSON(t, object.Interface())
			sameTyped(t, d, raw)
			// What does not fit, fits neither.
			cut := raw[:len(raw)/2]
			if err := d.Decode(cut, DefaultLimits, nil, reflect.New(typ).Elem()); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, cut off: %v", typ, err)
			}
		}
	}
}

var typedBodies = []string{
	`{}`, ` {} `, `null`, `[]`, `{"metadata":null}`, `{"kind":"A","apiVersion":"b","metadata":{"name":"a","labels":{"a":"b","c":null},"creationTimestamp":null,"unknown":[{}]}}`,
	`{"a":"x","b":"y","depth":255,"same":"s","Same":"t","Untagged":1.5,"untagged":2,"-":"dash","Ignored":"x","hidden":"x"}`,
	`{"b":null,"depth":null,"Untagged":null,"same":null}`, `{"depth":256}`, `{"depth":-1}`, `{"depth":1.0}`, `{"depth":"1"}`, `{"a":1}`,
	`{"bytes":"YWJj","words":["a","b",null,"c"],"maps":{"k":{"l":[{"a":"1"},null,{}],"m":null,"n":[]},"o":null},"texts":{"a":"b","c":null,"a":"d"}}`,
	`{"bytes":[1,2,255],"words":[]}`, `{"bytes":"a"}`, `{"bytes":"YW\nJj"}`, `{"bytes":"YW\\nJj"}`, `{"bytes":[256]}`, `{"bytes":null,"words":null,"maps":null,"texts":null,"any":null}`,
	`{"texts":{"a":1}}`, `{"texts":[]}`, `{"words":{}}`, `{"words":"a"}`, `{"same":1}`, `{"same":{}}`, `{"schema":[]}`, `{"schema":1}`,
	`{"any":{"a":[1,1.5,"x",null,true]}}`, `{"any":12345678901234567890}`, `{"any":1e400}`, `{"any":"x","any":{"a":1},"any":{"b":1}}`,
	`{"unknown":2.5e+3333,"metadata":{"unknown":-2.5e+3333}}`, `{"small":127}`, `{"small":128}`, `{"small":-128}`, `{"small":-129}`, `{"small":-0}`, `{"small":1e1}`, `{"large":18446744073709551615}`, `{"large":18446744073709551616}`, `{"large":-1}`,
	`{"pointer":5}`, `{"pointer":null}`, `{"Untagged":1e39}`, `{"Untagged":-0.0}`,
	`{"time":"2026-01-02T03:04:05Z","times":["2026-01-02T03:04:05.123456Z",null],"duration":"1m","plain":"2026-01-02T03:04:05.1+02:00"}`,
	`{"time":null}`, `{"time":"x"}`, `{"time":1}`, `{"time":"2026-01-02T03:04:05\u005a"}`, `{"time":{}}`, `{"duration":1}`, `{"plain":null}`,
	`{"quantity":"100m"}`, `{"quantity":5}`, `{"quantity":null}`, `{"quantity":"x"}`, `{"quantity":1.5e3}`,
	`{"port":80}`, `{"port":"http"}`, `{"port":null}`, `{"port":1.5}`, `{"port":2147483648}`, `{"port":-5}`, `{"port":true}`, `{"port":"a\n","port":1}`,
	`{"extension": {"a" : [1]} ,"raw": [ 1 ] }`, `{"extension":null,"raw":null}`, `{"raw":"x","raw":1}`,
	`{"schema":{"id":"a","default":{"x":1},"maximum":1.5,"maxItems":3,"allOf":[{"id":"b"},{"not":{"not":{}}}],"properties":{"a":{"properties":{"b":{"x-kubernetes-preserve-unknown-fields":true}}}}}}`,
	`{"schema":{"default":null,"maximum":1e400}}`,
	`{"schema":{"allOf":[{"id":"a","maximum":1},{"id":"b"}],"allOf":[{"uniqueItems":true}],"not":{"id":"a"},"not":{"uniqueItems":true},"properties":{"a":{"id":"a"}},"properties":{"b":{},"a":{"uniqueItems":true}}}}`,
	`{"A":[[],[[]],null]}`, `{"A":[1]}`,
	`{"k\u0069nd":"A","kind":"\ud83d\ude00"}`, "{\"kind\":\"\xff\"}", `{"kind":"A"}x`, `{"kind":"A",}`, `{"kind" "A"}`, `{"unknown":[1,2,{"a":}]}`, `{"unknown":01}`,
}

func TestTypedTable(t *testing.T) {
	for _, typ := range typedTypes {
		d := decoderOf(t, typ, nil)
		for _, body := range typedBodies {
			sameTyped(t, d, []byte(body))
		}
	}
}

func TestTypedNothingIsHeld(t *testing.T) {
	raw := toJSON(t, pod(1))
	var got corev1.Pod
	if err := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil).Decode(raw, DefaultLimits, nil, reflect.ValueOf(&got).Elem()); err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] = 'x'
	}
	if want := toJSON(t, pod(1)); string(toJSON(t, &got)) != string(want) {
		t.Errorf("it became %s", toJSON(t, &got))
	}
}

// A decoder may be used concurrently.
func TestTypedConcurrently(t *testing.T) {
	d := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 50 {
				want := toJSON(t, pod(i*50+n))
				var got corev1.Pod
				if err := d.Decode(want, DefaultLimits, nil, reflect.ValueOf(&got).Elem()); err != nil || string(toJSON(t, &got)) != string(want) {
					t.Errorf("%v: %s", err, toJSON(t, &got))
				}
			}
		})
	}
	wg.Wait()
}

// nested is a slice of itself.
type nested []nested

func TestTypedUnsupported(t *testing.T) {
	for _, v := range []any{
		0, "", map[string]int{}, &odd{},
		struct{ A chan int }{}, struct{ A func() }{}, struct{ A [2]int }{}, struct{ A complex64 }{}, struct{ A error }{}, struct{ A json.Number }{}, struct{ A net.IP }{},
		struct{ A map[int]string }{}, struct{ A map[metav1.Time]string }{},
		struct {
			A int `json:",string"`
		}{},
		struct {
			A int `json:"☃"`
		}{},
		struct{ *inner }{},
		struct {
			A []map[string]*struct{ B chan int }
		}{},
	} {
		if _, err := NewJSONDecoder(reflect.TypeOf(v), nil); err == nil {
			t.Errorf("%T is supported", v)
		}
	}
	if _, err := NewJSONDecoder(reflect.TypeFor[struct{ A nested }](), Mask{"A": {"x": nil}}); err == nil {
		t.Error("a slice of itself has fields")
	}
	// What is not wanted needs no support.
	if _, err := NewJSONDecoder(reflect.TypeFor[struct {
		A chan int
		B int
	}](), Mask{"B": nil}); err != nil {
		t.Error(err)
	}
	d := decoderOf(t, reflect.TypeFor[schema](), nil)
	if err := d.Decode([]byte(`{}`), DefaultLimits, nil, reflect.ValueOf(schema{})); err == nil {
		t.Error("what cannot be set was made")
	}
	if err := d.Decode([]byte(`{}`), DefaultLimits, nil, reflect.ValueOf(new(odd)).Elem()); err == nil {
		t.Error("another type was made")
	}
}

// FuzzTyped decodes as the oracle does.
func FuzzTyped(f *testing.F) {
	for _, body := range typedBodies {
		f.Add([]byte(body))
	}
	f.Add(toJSON(f, pod(1)))
	var decoders []*JSONDecoder
	for _, typ := range []reflect.Type{reflect.TypeFor[odd](), reflect.TypeFor[corev1.Pod]()} {
		decoders = append(decoders, decoderOf(f, typ, nil))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, d := range decoders {
			sameTyped(t, d, raw)
		}
	})
}
