// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// filler fills values at random, such that what comes out of an encoding is what went
// into it.
type filler struct {
	*rand.Rand
	depth int
}

func newFiller(seed uint64) *filler { return &filler{Rand: rand.New(rand.NewPCG(seed, 0))} }

// fill fills what v points to.
func (f *filler) fill(v any) { f.value(reflect.ValueOf(v).Elem()) }

func (f *filler) text() string {
	return [...]string{"", "a", "app", "täxt\n\"", "0123456789abcdef", fmt.Sprint(f.Uint64())}[f.IntN(6)]
}

func (f *filler) value(v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *metav1.TypeMeta:
		return
	case *metav1.Time:
		*to = metav1.NewTime(time.Unix(f.Int64N(1<<32), 0))
		return
	case *metav1.MicroTime:
		*to = metav1.NewMicroTime(time.Unix(f.Int64N(1<<32), f.Int64N(1e6)*1000))
		return
	case *resource.Quantity:
		*to = resource.MustParse([...]string{"1", "100m", "1Gi", "2e3", "0", "1.5Gi", "1.25"}[f.IntN(7)])
		return
	case *intstr.IntOrString:
		if f.IntN(2) == 0 {
			*to = intstr.FromInt32(f.Int32())
		} else {
			*to = intstr.FromString(f.text())
		}
		return
	case *runtime.RawExtension:
		*to = runtime.RawExtension{Raw: []byte(`{"a":1}`)}
		return
	case *metav1.FieldsV1:
		*to = *metav1.NewFieldsV1(`{"f:metadata":{}}`)
		return
	}
	f.depth++
	defer func() { f.depth-- }()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && f.IntN(4) > 0 {
				f.value(v.Field(i))
			}
		}
	case reflect.Pointer:
		if f.depth < 12 && f.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			f.value(v.Elem())
		}
	case reflect.Slice:
		if f.depth < 12 && f.IntN(2) == 0 {
			n := 1 + f.IntN(3)
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				f.value(v.Index(i))
			}
		}
	case reflect.Map:
		if f.depth < 12 && f.IntN(2) == 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range 1 + f.IntN(3) {
				key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				f.value(key)
				f.value(value)
				v.SetMapIndex(key, value)
			}
		}
	case reflect.String:
		v.SetString(f.text())
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(int64(int32(f.Uint32())))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(f.IntN(256)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(f.IntN(1000)) / 4)
	}
}
