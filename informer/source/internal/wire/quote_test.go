// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What no error may have in it: a text, its base64, and a number that fits nothing.
const (
	canary       = "c4nary"
	canaryBase64 = "YzRuYXJ5"
	canaryNumber = "98765432109876543210"
)

func quotesCanary(err error) bool {
	text := fmt.Sprintf("%v %+v %#v", err, err, err)
	for ; err != nil; err = errors.Unwrap(err) {
		text += fmt.Sprint(err)
	}
	return strings.Contains(text, canary) || strings.Contains(text, canaryBase64) || strings.Contains(text, canaryNumber)
}

// picky is a type that reads itself, and quotes what it does not like.
type picky struct{}

func (p *picky) UnmarshalJSON(raw []byte) error {
	return fmt.Errorf("%s is none that is known", raw)
}
func (p *picky) Unmarshal(raw []byte) error { return fmt.Errorf("%s is none that is known", raw) }

// every is an object with a field of each kind.
type every struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Data              map[string][]byte   `json:"data"`
	Text              string              `json:"text"`
	Int               int32               `json:"int"`
	Uint              *uint8              `json:"uint"`
	Float             float32             `json:"float"`
	Yes               bool                `json:"yes"`
	Time              metav1.Time         `json:"time"`
	Micro             *metav1.MicroTime   `json:"micro"`
	Duration          metav1.Duration     `json:"duration"`
	Port              intstr.IntOrString  `json:"port"`
	Limits            corev1.ResourceList `json:"limits"`
	Labels            map[string]string   `json:"labels"`
	Containers        []corev1.Container  `json:"containers"`
	Picky             *picky              `json:"picky"`
	Any               any                 `json:"any"`
}

// everyProto is an object with a field of each kind in protobuf.
type everyProto struct {
	metav1.TypeMeta
	metav1.ObjectMeta `json:"metadata" protobuf:"bytes,1,opt,name=metadata"`
	Data              map[string][]byte   `json:"data" protobuf:"bytes,2,rep,name=data"`
	Text              string              `json:"text" protobuf:"bytes,3,opt,name=text"`
	Int               int32               `json:"int" protobuf:"varint,4,opt,name=int"`
	Float             float32             `json:"float" protobuf:"fixed32,6,opt,name=float"`
	Yes               bool                `json:"yes" protobuf:"varint,7,opt,name=yes"`
	Time              metav1.Time         `json:"time" protobuf:"bytes,8,opt,name=time"`
	Micro             *metav1.MicroTime   `json:"micro" protobuf:"bytes,9,opt,name=micro"`
	Port              intstr.IntOrString  `json:"port" protobuf:"bytes,11,opt,name=port"`
	Limits            corev1.ResourceList `json:"limits" protobuf:"bytes,12,rep,name=limits,casttype=ResourceList"`
	Labels            map[string]string   `json:"labels" protobuf:"bytes,13,rep,name=labels"`
	Containers        []corev1.Container  `json:"containers" protobuf:"bytes,14,rep,name=containers"`
	Picky             *picky              `json:"picky" protobuf:"bytes,15,opt,name=picky"`
	Numbers           []int64             `json:"numbers" protobuf:"varint,5,rep,name=numbers"`
}

// bodies are values as they can stand in a field, and others that are not even JSON.
var bodies = []string{
	`"` + canary + `"`, `"` + canaryBase64 + `!"`, canaryNumber, `-` + canaryNumber + `e999`, `{"k":"` + canary + `"}`, `["` + canary + `"]`, `[{"name":` + canaryNumber + `}]`,
	`{"k":` + canaryNumber + `}`, `true`, canary, `"` + canary, `"` + canary + `\q"`, "\"" + canary + "\n\"", `'` + canary + `'`, `1` + canary, `tru` + canary,
	`{"k":"` + canary + `"` + canary, `{"k" "` + canary + `"}`, `{` + canary + `:1}`,
}

// No error of JSON quotes a value, wherever it is, and those of fields say which one it is.
func TestJSONErrorsQuoteNothing(t *testing.T) {
	decoder, err := NewJSONDecoder(reflect.TypeFor[every](), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := map[string]bool{}
	for _, field := range []string{
		"data", "data.k", "text", "int", "uint", "float", "yes", "time", "micro", "duration", "port", "limits", "limits.cpu", "labels", "labels[a.b/c]",
		"containers", "containers[0]", "containers[0].name", "containers[0].ports[0].containerPort", "picky", "any", "any.x[0].y",
		"metadata", "metadata.name", "metadata.labels.a", "metadata.creationTimestamp", "kind", "unknown",
	} {
		for _, value := range bodies {
			raw := `{"before":"` + canary + `",` + inField(field, value) + `}`
			check := func(how string, err error) {
				if err == nil {
					return
				}
				failed[how+" "+field] = true
				if quotesCanary(err) {
					t.Errorf("%s of %s: %v", how, raw, err)
				}
				var at *Error
				if !errors.As(err, &at) || how != "list" && how != "watch" && !strings.Contains(err.Error(), "field "+field) {
					t.Errorf("%s of %s: %v, want the path %s", how, raw, err, field)
				}
			}
			check("typed", decoder.Decode([]byte(raw), DefaultLimits, nil, reflect.New(reflect.TypeFor[every]()).Elem()))
			check("shared", decoder.Decode([]byte(raw), DefaultLimits, NewShare(), reflect.New(reflect.TypeFor[every]()).Elem()))
			_, err := DecodeUnstructured([]byte(raw), DefaultLimits, JSONOptions{})
			check("unstructured", err)
			_, err = ReadList(strings.NewReader(`{"kind":"List","items":[`+raw+`]}`), DefaultLimits, nil, func(*Object) error { return nil })
			check("list", err)
			_, err = NewWatch(strings.NewReader(`{"type":"ADDED","object":`+raw+`}`), DefaultLimits).Next()
			check("watch", err)
		}
		for _, how := range []string{"typed", "shared", "unstructured", "list", "watch"} {
			if !failed[how+" "+field] {
				t.Errorf("%s of %s never failed", how, field)
			}
		}
	}
}

// inField is the member that a value is of at a path.
func inField(path, value string) string {
	name, rest := path, ""
	if at := strings.IndexAny(path, ".["); at >= 0 {
		name, rest = path[:at], path[at:]
	}
	switch {
	case rest == "":
	case rest[0] == '.':
		value = `{` + inField(rest[1:], value) + `}`
	case strings.HasPrefix(rest, "[0]"):
		if rest = strings.TrimPrefix(rest[3:], "."); rest != "" {
			value = `{` + inField(rest, value) + `}`
		}
		value = `["x"` + value + `]`
		value = strings.Replace(value, `"x"`, "", 1)
	default:
		value = `{"` + strings.Trim(rest, "[]") + `":` + value + `}`
	}
	return `"` + name + `":` + value
}

// Bodies that are neither a list nor a watch are not quoted.
func TestBodiesAreNotQuoted(t *testing.T) {
	for _, body := range append([]string{canary, "<html>" + canary, "\x00" + canary, protobufMagic + canary}, bodies...) {
		for _, before := range []string{``, `{"kind":`, `{"items":`, `{"metadata":{"resourceVersion":`, `{"metadata":{"remainingItemCount":`, `{"type":`, `{"items":[],"kind":"PodList"}`} {
			_, err := ReadList(strings.NewReader(before+body), DefaultLimits, nil, func(*Object) error { return nil })
			if err == nil || quotesCanary(err) {
				t.Errorf("list of %q: %v", before+body, err)
			}
			if _, err := NewWatch(strings.NewReader(before+body), DefaultLimits).Next(); err == nil || quotesCanary(err) {
				t.Errorf("watch of %q: %v", before+body, err)
			}
		}
	}
}

// No error of protobuf quotes a value, and those of fields say which one it is.
func TestProtoErrorsQuoteNothing(t *testing.T) {
	decoder, err := NewProtoDecoder(reflect.TypeFor[everyProto](), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{
		1: "metadata", 2: "data", 3: "text", 4: "int", 6: "float", 7: "yes", 8: "time", 9: "micro", 11: "port", 12: "limits",
		13: "labels", 14: "containers", 15: "picky", 5: "numbers",
	}
	for number, name := range names {
		failed := false
		for _, value := range [][]byte{
			append([]byte{byte(number<<3 | bytesType)}, canary...), oddField(number, []byte(canary)), oddField(number, oddField(2, []byte(canary))), oddField(number, oddField(1, []byte(canary))),
			oddField(number, append(oddField(1, []byte("cpu")), oddField(2, oddField(1, []byte(canary)))...)),
			append([]byte{byte(number<<3 | fixed64Type)}, canary+canary...), oddField(number, append([]byte{0x0f}, canary...)),
		} {
			err := decoder.Decode(&Object{Format: Protobuf, Raw: value}, &everyProto{})
			if err == nil {
				continue
			}
			failed = true
			if quotesCanary(err) || !errors.Is(err, errCut) && !strings.Contains(err.Error(), "field "+name+" of everyProto") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !failed {
			t.Errorf("%s never failed", name)
		}
	}
}

func TestPathAt(t *testing.T) {
	for want, text := range map[string]string{
		"":                       `{ ^`,
		"a":                      `{"a":^`,
		"b":                      `{"a":{"x":[1]},"b": ^1`,
		"a[2].b":                 `{"a":[{"b":1},[],{"c":{},"b":^`,
		"a[k.ey/x][b c]":         `{"a":{"k.ey/x":{"b c":^`,
		"data":                   `{"data":{"name" ^`,
		"a[0][2]":                `{"a":[[0,"]}",^`,
		`a\"b`:                   `{"a\"b":"^`,
		"unended":                `{"unended":{"name^`,
		"c":                      `}]}]{"c":[],"c":{}^`,
		"spec.containers[1].env": `{"x":"{[,:","spec":{"containers":[{"env":[]},{"env":^[`,
	} {
		data, _, _ := strings.Cut(text, "^")
		if got := pathAt([]byte(strings.Replace(text, "^", "", 1)), len(data)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Paths are found in anything.
func FuzzPathAt(f *testing.F) {
	f.Add(`{"a":[{"b":"c"}]}`, 9)
	f.Fuzz(func(t *testing.T, data string, at int) {
		if at >= 0 && at <= len(data) {
			pathAt([]byte(data), at)
		}
	})
}
