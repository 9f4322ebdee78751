// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/json"
	"reflect"
	"testing"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/kubernetes/scheme"
)

// jsonPaths are the paths of a type that the JSON decoder accepts, up to a depth.
func jsonPaths(t reflect.Type, depth int) (paths []string) {
	var walk func(t reflect.Type, path string, depth int)
	walk = func(t reflect.Type, path string, depth int) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			paths = append(paths, path+"[a]")
			walk(t.Elem(), path, depth)
			return
		}
		if t.Kind() != reflect.Struct || depth == 0 {
			return
		}
		all, err := fieldsOf(t, path)
		if err != nil {
			return
		}
		for _, f := range all {
			p := join(path, f.name)
			paths = append(paths, p)
			walk(f.t, p, depth-1)
		}
	}
	walk(t, "", depth)
	return paths
}

// Each path that a mask for JSON may have is one for protobuf too, and means the same.
func TestMaskOracle(t *testing.T) {
	bad := map[string]bool{}
	n := 0
	for gvk, typ := range scheme.Scheme.AllKnownTypes() {
		if _, ok := reflect.New(typ).Interface().(generated); !ok {
			continue
		}
		if _, ok := typ.FieldByName("ObjectMeta"); !ok || (gvk.Version != "v1" && gvk.Version != "v2") {
			continue
		}
		original := reflect.New(typ).Interface().(generated)
		newFiller(7).fill(original)
		data, err := original.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		full := reflect.New(typ).Interface().(generated)
		if err := full.Unmarshal(data); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(full)
		if err != nil {
			continue
		}
		for _, path := range jsonPaths(typ, 4) {
			if CheckPaths(typ, []string{path}) != nil {
				continue
			}
			n++
			mask, err := ParseMask([]string{path})
			if err != nil {
				t.Fatal(err)
			}
			p, err := NewProtoDecoder(typ, mask, nil)
			if err != nil {
				if len(bad) < 15 {
					t.Errorf("%s: accepted, but %v", gvk, err)
				}
				bad[path] = true
				continue
			}
			j, err := NewJSONDecoder(typ, mask)
			if err != nil {
				t.Fatal(err)
			}
			a, b := reflect.New(typ), reflect.New(typ)
			if err := p.Decode(&Object{Raw: data}, a.Interface()); err != nil {
				t.Fatal(err)
			}
			if err := j.Decode(raw, DefaultLimits, nil, b.Elem()); err != nil {
				continue
			}
			b.Elem().FieldByName("TypeMeta").SetZero()
			if !apiequality.Semantic.DeepEqual(a.Interface(), b.Interface()) {
				x, _ := json.Marshal(a.Interface())
				y, _ := json.Marshal(b.Interface())
				if string(x) != string(y) && len(bad) < 15 {
					bad[path] = true
					t.Errorf("%s, %q: protobuf\n%s\nJSON\n%s", gvk, path, x, y)
				}
			}
		}
	}
	t.Log(n, "paths", len(bad), "bad")
}
