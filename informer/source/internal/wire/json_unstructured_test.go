// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// unstructuredBodies are objects, some of which are none.
var unstructuredBodies = []string{
	`{}`, ` { } `, `{"a":[]}`, `{"a":{},"b":[[],{}]}`,
	`{"a":1,"b":-1,"c":0,"d":-0,"e":1.0,"f":1e3,"g":1E-3,"h":9223372036854775807,"i":9223372036854775808,"j":-9223372036854775808,"k":-9223372036854775809,"l":123456789012345678901234567890,"m":0.1,"n":999999999999999999}`,
	`{"a":true,"b":false,"c":null,"d":[true,false,null,"x",1]}`,
	`{"a":"\u0041\n\"\\\/\b\f\r\t","b":"\ud83d\ude00","c":"\ud83d","d":"ü"}`, "{\"a\xff\":\"\xff\xfe\"}",
	`{"a":1,"A":2,"a":3}`, `{"a":{"b":1},"a":{"c":1}}`, `{"":"","\u0000":""}`,
	`{"a":"` + strings.Repeat("x", 100) + `","` + strings.Repeat("y", 100) + `":1}`,
	`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10}`,
	``, ` `, `null`, `[]`, `1`, `"a"`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a":1}x`, `{"a":1}{}`, `{"a":01}`, `{"a":1.}`, `{"a":-}`, `{"a":--1}`,
	`{"a":1e}`, `{"a":.5}`, `{"a":1e999}`, `{"a":nul}`, `{"a":truee}`, `{"a":"\x"}`, `{"a":"\u00g0"}`, `{"a":"\u00"}`, `{"a":"\`, "{\"a\":\"\n\"}", `{"a":[1}`, `{"a":[1,]}`, `{"a":[,1]}`,
	`{"a":[`, `{"a":[1`, `{"a":[1,`, "{\"a\":\v1}", `{"a":{"b":}}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":"b`, `{"a":t`, `{"a":1`, `{"a":-`,
}

// sameUnstructured compares with what apimachinery makes of an object.
func sameUnstructured(t *testing.T, raw []byte) {
	t.Helper()
	got, err := DecodeUnstructured(raw, asOracle, JSONOptions{})
	var want map[string]any
	oracleErr := utiljson.Unmarshal(raw, &want)
	if oracleErr == nil && want == nil {
		if err == nil {
			t.Errorf("%q was accepted", raw)
		}
		return
	}
	if (err == nil) != (oracleErr == nil) {
		t.Errorf("%q: %v, but the oracle says %v", raw, err, oracleErr)
		return
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Errorf("%q is %#v, not %#v", raw, got, want)
	}
	var bad *Error
	if err != nil && (!errors.As(err, &bad) || bad.Offset < 0 || bad.Offset > int64(len(raw))) {
		t.Errorf("%q: %v", raw, err)
	}
	sameShared(t, func(share *Share) (any, error) {
		return DecodeUnstructured(raw, asOracle, JSONOptions{Share: share})
	}, got, err)
	// A mask that wants nothing takes the same for JSON.
	none, err := DecodeUnstructured(raw, asOracle, JSONOptions{Mask: Mask{}})
	if err != nil && oracleErr == nil || len(none) != 0 {
		t.Errorf("%q, masked, is %v, %v", raw, none, err)
	}
}

func TestUnstructured(t *testing.T) {
	for _, body := range append(unstructuredBodies, string(toJSON(t, pod(1)))) {
		sameUnstructured(t, []byte(body))
	}
	body := toJSON(t, pod(2))
	for n := range body {
		if _, err := DecodeUnstructured(body[:n], DefaultLimits, JSONOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
}

func TestUnstructuredDepth(t *testing.T) {
	for _, mask := range []Mask{nil, {}, {"a": {"b": nil}}} {
		for depth, body := range []string{1: `{}`, 2: `{"a":{}}`, 3: `{"a":[[]],"b":{}}`, 4: `{"a":{"b":[{}]}}`} {
			if depth == 0 {
				continue
			}
			if _, err := DecodeUnstructured([]byte(body), Limits{Depth: depth}, JSONOptions{Mask: mask}); err != nil {
				t.Error(body, err)
			}
			if _, err := DecodeUnstructured([]byte(body), Limits{Depth: depth - 1}, JSONOptions{Mask: mask}); err == nil {
				t.Error(body, "no error")
			}
		}
	}
}

func TestUnstructuredMask(t *testing.T) {
	const body = `{"kind":"A","metadata":{"name":"a","labels":{"a.b/c":"1","d":"2"},"x":1},"spec":{"list":[{"a":1,"b":2},{"b":3},4],"map":{"k":{"a":1,"b":2},"l":{"a":3}},"text":"x","[odd]":1},"status":null}`
	for _, test := range []struct {
		paths []string
		want  string
	}{
		{nil, `{"kind":"A","metadata":{"name":"a"}}`},
		{[]string{"metadata.labels[a.b/c]"}, `{"kind":"A","metadata":{"name":"a","labels":{"a.b/c":"1"}}}`},
		{[]string{"metadata"}, `{"kind":"A","metadata":{"name":"a","labels":{"a.b/c":"1","d":"2"},"x":1}}`},
		{[]string{"spec.list.a"}, `{"kind":"A","metadata":{"name":"a"},"spec":{"list":[{"a":1},{},4]}}`},
		{[]string{"spec.map[k].a", "spec.map.k.b"}, `{"kind":"A","metadata":{"name":"a"},"spec":{"map":{"k":{"a":1,"b":2}}}}`},
		{[]string{"spec.map[k]", "spec.map.k.b"}, `{"kind":"A","metadata":{"name":"a"},"spec":{"map":{"k":{"a":1,"b":2}}}}`},
		{[]string{"spec.text.more", "spec[odd]", "status.x"}, `{"kind":"A","metadata":{"name":"a"},"spec":{"text":"x"},"status":null}`},
		{[]string{"status", "spec[text]"}, `{"kind":"A","metadata":{"name":"a"},"spec":{"text":"x"},"status":null}`},
	} {
		mask, err := ParseMask(test.paths)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeUnstructured([]byte(body), DefaultLimits, JSONOptions{Mask: mask})
		var want map[string]any
		if err := utiljson.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %v, %v, not %v", test.paths, got, err, want)
		}
	}
	// The last one counts, even if there is nothing in it.
	got, err := DecodeUnstructured([]byte(`{"a":{"b":1},"a":{}}`), DefaultLimits, JSONOptions{Mask: Mask{"a": {"b": nil}}})
	if err != nil || !reflect.DeepEqual(got, map[string]any{"a": map[string]any{}}) {
		t.Error(got, err)
	}
}

// Of what a mask leaves out no strings are made.
func TestUnstructuredTexts(t *testing.T) {
	share := NewTexts()
	got, err := DecodeUnstructured([]byte(`{"a":"\u0062 wanted","unwanted":"c unwanted"}`), DefaultLimits, JSONOptions{Mask: Mask{"a": nil}, Share: share})
	if err != nil || got["a"] != "b wanted" || len(got) != 1 {
		t.Error(got, err)
	}
	for _, text := range share.texts.at {
		if text != "" && text != "a" && text != "b wanted" {
			t.Errorf("%q was made", text)
		}
	}
	if !slices.Contains(share.texts.at, "b wanted") {
		t.Error("the share has no part in it")
	}
}

func FuzzUnstructured(f *testing.F) {
	for _, body := range unstructuredBodies {
		f.Add([]byte(body))
	}
	f.Add(toJSON(f, pod(1)))
	f.Fuzz(func(t *testing.T, raw []byte) { sameUnstructured(t, raw) })
}

func BenchmarkUnstructured(b *testing.B) {
	var (
		raws [][]byte
		size int
	)
	for _, pod := range pods(200).Items {
		raws = append(raws, toJSON(b, pod))
		size += len(raws[len(raws)-1])
	}
	mask, err := ParseMask([]string{"spec.nodeName", "metadata.labels", "status.phase"})
	if err != nil {
		b.Fatal(err)
	}
	for _, who := range []struct {
		name   string
		decode func(raw []byte) (map[string]any, error)
	}{
		{"wire", func(raw []byte) (map[string]any, error) {
			return DecodeUnstructured(raw, DefaultLimits, JSONOptions{})
		}},
		{"masked", func(raw []byte) (map[string]any, error) {
			return DecodeUnstructured(raw, DefaultLimits, JSONOptions{Mask: mask})
		}},
		{"peer", func(raw []byte) (m map[string]any, err error) {
			err = utiljson.Unmarshal(raw, &m)
			return m, err
		}},
	} {
		b.Run(who.name, func(b *testing.B) {
			b.SetBytes(int64(size / len(raws)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := who.decode(raws[i%len(raws)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
