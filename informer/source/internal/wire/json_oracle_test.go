// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/json"
	"reflect"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// Typed JSON of all kinds, against the oracle, and with a member twice.
func TestJSONOracle(t *testing.T) {
	un, share := 0, NewShare()
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if _, ok := typ.FieldByName("ObjectMeta"); !ok {
			continue
		}
		d, err := NewJSONDecoder(typ, nil)
		if err != nil {
			un++
			t.Log(err)
			continue
		}
		for seed := range uint64(6) {
			o := reflect.New(typ)
			newFiller(seed).fill(o.Interface())
			raw, err := json.Marshal(o.Interface())
			if err != nil {
				continue
			}
			o2 := reflect.New(typ)
			newFiller(seed + 100).fill(o2.Interface())
			raw2, err := json.Marshal(o2.Interface())
			if err != nil {
				continue
			}
			both := append(append(append([]byte{}, raw[:len(raw)-1]...), ','), raw2[1:]...)
			for _, data := range [][]byte{raw, both} {
				a, b := reflect.New(typ), reflect.New(typ)
				errA := d.Decode(data, DefaultLimits, nil, a.Elem())
				errB := utiljson.Unmarshal(data, b.Interface())
				sayQuantities(a)
				sayQuantities(b)
				if (errA == nil) != (errB == nil) {
					t.Errorf("%s: %v, %v", gvk, errA, errB)
				} else if errA == nil && !reflect.DeepEqual(a.Interface(), b.Interface()) {
					t.Errorf("%s: differs", gvk)
				}
				for range 3 {
					c := reflect.New(typ)
					err := d.Decode(data, DefaultLimits, share, c.Elem())
					sayQuantities(c)
					if err == nil && !reflect.DeepEqual(c.Interface(), b.Interface()) || (err == nil) != (errB == nil) {
						t.Errorf("%s: differs if it is shared, %v", gvk, err)
					}
				}
			}
		}
	}
	t.Log(un, "without a decoder")
}
