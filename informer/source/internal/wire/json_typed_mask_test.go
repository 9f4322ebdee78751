// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func parseMask(tb testing.TB, paths ...string) Mask {
	tb.Helper()
	mask, err := ParseMask(paths)
	if err != nil {
		tb.Fatal(err)
	}
	return mask
}

// With a mask it is what is made without a type with that mask, and then of that.
func TestTypedMask(t *testing.T) {
	raw := toJSON(t, pod(3))
	for _, paths := range [][]string{
		nil,
		{"metadata"},
		{"metadata.labels[tier]", "metadata.annotations[none]", "metadata.ownerReferences.kind"},
		{"spec.nodeName", "spec.containers.image", "spec.containers.resources.requests[cpu]", "spec.volumes.projected.sources.configMap.items.key"},
		{"spec.containers.readinessProbe", "spec[nodeName]", "status.conditions.type", "status.conditions.status", "status.podIPs"},
		{"status.containerStatuses.state.running.startedAt", "metadata.managedFields.fieldsV1"},
	} {
		mask := parseMask(t, paths...)
		var got, want corev1.Pod
		if err := decoderOf(t, reflect.TypeFor[corev1.Pod](), mask).Decode(raw, DefaultLimits, nil, reflect.ValueOf(&got).Elem()); err != nil {
			t.Fatal(paths, err)
		}
		object, err := DecodeUnstructured(raw, DefaultLimits, JSONOptions{Mask: mask})
		if err != nil {
			t.Fatal(paths, err)
		}
		if err := utiljson.Unmarshal(toJSON(t, object), &want); err != nil {
			t.Fatal(paths, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: %s, not %s", paths, toJSON(t, &got), toJSON(t, &want))
		}
		if got.Name != "web-7d4b9c6f5-00003" || len(paths) == 0 && got.Labels != nil {
			t.Errorf("%v: %s", paths, toJSON(t, &got))
		}
	}
}

// In a map, a name is a field of all values, and a key is one of them.
func TestTypedMaskOfMaps(t *testing.T) {
	const raw = `{"schema":{"properties":{"a":{"id":"1","maximum":1,"uniqueItems":true},"b":{"id":"2","maximum":2},"c":null}},"any":{"x":1,"y":2},"texts":{"a":"b","c":"d"}}`
	for _, test := range []struct{ path, want string }{
		{"schema.properties.id", `{"schema":{"properties":{"a":{"id":"1"},"b":{"id":"2"},"c":null}}}`},
		{"schema.properties[a].id", `{"schema":{"properties":{"a":{"id":"1"}}}}`},
		{"schema.properties[a].id,schema.properties.maximum", `{"schema":{"properties":{"a":{"id":"1","maximum":1},"b":{"maximum":2},"c":null}}}`},
		{"schema.properties[a],schema.properties.maximum", `{"schema":{"properties":{"a":{"id":"1","maximum":1,"uniqueItems":true},"b":{"maximum":2},"c":null}}}`},
		{"any.x,texts[c]", `{"any":{"x":1},"texts":{"c":"d"}}`},
		{"any,texts", `{"any":{"x":1,"y":2},"texts":{"a":"b","c":"d"}}`},
	} {
		var got, want odd
		d := decoderOf(t, reflect.TypeFor[odd](), parseMask(t, strings.Split(test.path, ",")...))
		if err := d.Decode([]byte(raw), DefaultLimits, nil, reflect.ValueOf(&got).Elem()); err != nil {
			t.Fatal(err)
		}
		if err := utiljson.Unmarshal([]byte(test.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s, not %s", test.path, toJSON(t, &got), toJSON(t, &want))
		}
	}
}

func TestTypedMaskUnknown(t *testing.T) {
	for path, want := range map[string]string{
		"spec.nodename":                   `"spec.nodename"`,
		"spec.containers.none":            `"spec.containers.none"`,
		"spec.nodeName.more":              `"spec.nodeName.more"`,
		"metadata.labels.more":            `"metadata.labels.more"`,
		"metadata.labels[a].more":         `"metadata.labels[a].more"`,
		"metadata.creationTimestamp.time": `"metadata.creationTimestamp.time"`,
		"Spec":                            `"Spec"`,
		"spec.containers[image]":          ``,
		"spec.containers[none]":           `"spec.containers.none"`,
	} {
		_, err := NewJSONDecoder(reflect.TypeFor[corev1.Pod](), parseMask(t, path))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func BenchmarkTyped(b *testing.B) {
	var (
		raws [][]byte
		size int
	)
	for _, pod := range pods(200).Items {
		raws = append(raws, toJSON(b, pod))
		size += len(raws[len(raws)-1])
	}
	typ := reflect.TypeFor[corev1.Pod]()
	whole, masked := decoderOf(b, typ, nil), decoderOf(b, typ, parseMask(b, "spec.nodeName", "metadata.labels", "status.phase"))
	for _, who := range []struct {
		name   string
		decode func(raw []byte, into *corev1.Pod) error
	}{
		{"wire", func(raw []byte, into *corev1.Pod) error {
			return whole.Decode(raw, DefaultLimits, nil, reflect.ValueOf(into).Elem())
		}},
		{"masked", func(raw []byte, into *corev1.Pod) error {
			return masked.Decode(raw, DefaultLimits, nil, reflect.ValueOf(into).Elem())
		}},
		{"peer", func(raw []byte, into *corev1.Pod) error { return utiljson.Unmarshal(raw, into) }},
	} {
		b.Run(who.name, func(b *testing.B) {
			b.SetBytes(int64(size / len(raws)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := who.decode(raws[i%len(raws)], new(corev1.Pod)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
