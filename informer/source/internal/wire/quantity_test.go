// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sayQuantities has all quantities of a value say what they are, for which they keep the
// text: as a reader does, and the decoders. It returns how many there are.
func sayQuantities(v reflect.Value) (n int) {
	if !v.IsValid() {
		return 0
	}
	if v.Type() == quantityType && v.CanAddr() {
		q := v.Addr().Interface().(*resource.Quantity)
		_ = q.String()
		q.Size()
		return 1
	}
	switch v.Kind() {
	case reflect.Pointer:
		return sayQuantities(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			n += sayQuantities(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += sayQuantities(v.Field(i))
			}
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			if v.Type().Elem() == quantityType {
				continue // nobody has but a copy
			}
			said := reflect.New(v.Type().Elem()).Elem()
			said.Set(v.MapIndex(key))
			n += sayQuantities(said)
			v.SetMapIndex(key, said)
		}
	}
	return n
}

// quantities has a quantity at each place that there may be, also in a map, where it is
// what it is without decoders of ours.
type quantities struct {
	metav1.TypeMeta
	Value   resource.Quantity             `json:"value" protobuf:"bytes,1,opt,name=value"`
	Pointer *resource.Quantity            `json:"pointer" protobuf:"bytes,2,opt,name=pointer"`
	Slice   []resource.Quantity           `json:"slice" protobuf:"bytes,3,rep,name=slice"`
	Map     map[string]resource.Quantity  `json:"map" protobuf:"bytes,4,rep,name=map"`
	Volumes []corev1.EmptyDirVolumeSource `json:"volumes" protobuf:"bytes,5,rep,name=volumes"`
}

// Whoever asks a quantity for its text does not write to what others have.
func TestQuantitiesAreNotWritten(t *testing.T) {
	typ := reflect.TypeFor[quantities]()
	js := decoderOf(t, typ, nil)
	pb, err := NewProtoDecoder(typ, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1536Mi", "1.5Gi", "1.25", "1e3", "0", "100000000000000000000000"} {
		q := oddField(1, []byte(text))
		entry := append(oddField(1, []byte("a")), oddField(2, q)...)
		var proto []byte
		for i, value := range [][]byte{q, q, q, entry, oddField(2, q)} {
			proto = append(proto, oddField(i+1, value)...)
		}
		raw := []byte(strings.ReplaceAll(`{"value":"Q","pointer":"Q","slice":["Q"],"map":{"a":"Q"},"volumes":[{"sizeLimit":"Q"}]}`, "Q", text))
		for how, decode := range map[string]func(*quantities) error{
			"JSON":     func(to *quantities) error { return js.Decode(raw, DefaultLimits, nil, reflect.ValueOf(to).Elem()) },
			"protobuf": func(to *quantities) error { return pb.Decode(&Object{Raw: proto}, to) },
		} {
			var got, said quantities
			if err := decode(&got); err != nil {
				t.Fatal(how, err)
			}
			if err := decode(&said); err != nil {
				t.Fatal(how, err)
			}
			if n := sayQuantities(reflect.ValueOf(&said)); n != 4 {
				t.Fatalf("%s: %d quantities", how, n)
			}
			if want := resource.MustParse(text); got.Pointer.Cmp(want) != 0 || got.Volumes[0].SizeLimit.Cmp(want) != 0 {
				t.Errorf("%s: %v, not %v", how, got, text)
			}
			if !reflect.DeepEqual(got, said) {
				t.Errorf("%s: %q changes when it is read:\n%#v\n%#v", how, text, got, said)
			}
		}
	}
}
