// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
)

// BenchmarkList reads and decodes lists of 500 pods in JSON, plain and recorded.
func BenchmarkList(b *testing.B) {
	pods := informertest.WirePods(500)
	pods.Kind, pods.APIVersion = "PodList", "v1"
	body, err := json.Marshal(pods)
	if err != nil {
		b.Fatal(err)
	}
	server := &informertest.Transport{Handler: func(w *informertest.Response, _ *http.Request) { w.Send(string(body)) }}
	lw := source.NewListWatchFromClient(informertest.Client(b, server), "pods", "")
	for _, bench := range []struct {
		name string
		file string
	}{{name: "plain"}, {"recorded", "pods.jsonl"}, {"compressed", "pods.jsonl.gz"}} {
		b.Run(bench.name, func(b *testing.B) {
			var opts []source.SourceOption
			if bench.file != "" {
				file := record.NewFile(filepath.Join(b.TempDir(), bench.file))
				defer file.Close()
				opts = append(opts, source.WithRecording(file, record.WithLimit(1<<40)))
			}
			src := source.FromListerWatcher[*corev1.Pod](lw, nil, opts...)
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				_, err := src.List(b.Context(), metav1.ListOptions{}, func(item informer.Item[*corev1.Pod]) error {
					n++
					_, err := item.Decode()
					return err
				})
				if err != nil || n != 500 {
					b.Fatal(n, err)
				}
			}
		})
	}
}
