// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

// What an API server accepts of anybody is no object that cannot be decoded: one that is nested
// deep, and one that is small on the wire and large in memory.
func TestAcceptedByServers(t *testing.T) {
	for name, spec := range map[string]string{
		"nested 600 deep":            `"x":` + strings.Repeat(`{"a":`, 600) + `1` + strings.Repeat(`}`, 600),
		"nested 9990 deep":           `"x":` + strings.Repeat(`[`, 9990) + strings.Repeat(`]`, 9990),
		"180 KB of empty containers": `"containers":[` + strings.Repeat(`{},`, 60_000) + `{}]`,
		"3 MiB of empty containers":  `"containers":[` + strings.Repeat(`{},`, 1<<20) + `{}]`,
	} {
		pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"5"},"spec":{` + spec + `}}`
		a := answers{format: runtime.ContentTypeJSON, list: []byte(informertest.PodsText("10", "", pod)), watch: []byte(informertest.EventText("ADDED", pod))}
		if pods, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](a.listWatch(t), nil)); err != nil || len(pods) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		stream, err := source.FromListerWatcher[*corev1.Pod](a.listWatch(t), nil).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := stream.Next(); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _, err := e.Item.Decode(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		stream.Stop()
	}
}

// What cannot be decoded does not end a list: it is an item of its own, with what identifies
// it. That is so in each format, and if it is too large.
func TestItemsThatCannotBeDecoded(t *testing.T) {
	const limit = 1 << 20
	damages := map[string]func(list []byte) []byte{
		runtime.ContentTypeJSON: func(list []byte) []byte { return bytes.Replace(list, []byte(`"c4nary"`), []byte(`12345678`), 1) },
		runtime.ContentTypeProtobuf: func(list []byte) []byte { // a text that is longer than its object
			return bytes.Replace(list, []byte("\x06c4nary"), []byte("\x7fc4nary"), 1)
		},
	}
	for format, damage := range damages {
		for name, node := range map[string]string{"damaged": "c4nary", "too large": strings.Repeat("x", limit)} {
			pods := informertest.WirePods(3)
			pods.Items[1].Spec.NodeName = node
			lw := answers{format: format, list: damage(informertest.Encode(t, format, pods))}.listWatch(t)
			var got []string
			_, err := source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithObjectLimit(limit)).List(t.Context(), metav1.ListOptions{}, func(i informer.Item[*corev1.Pod]) error {
				_, err := i.Decode()
				got = append(got, i.Meta().Key.Name+" "+string(informer.CauseOf(err)))
				return nil
			})
			want := []string{pods.Items[0].Name + " ", pods.Items[1].Name + " decoding", pods.Items[2].Name + " "}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %s: %q, %v", format, name, got, err)
			}
		}
	}
}
