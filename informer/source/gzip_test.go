// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

// compressed answers in gzip, as API servers do, and can break off. fakeapi compresses
// nothing.
type compressed struct {
	format string
	body   []byte
}

func (c compressed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		http.Error(w, "the list is too large for who does not accept gzip", http.StatusNotAcceptable)
		return
	}
	w.Header().Set("Content-Type", c.format)
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(c.body)
}

// A list that comes compressed is read as a stream as well, and is an error if it breaks
// off, wherever that is.
func TestGzip(t *testing.T) {
	const pods = 50
	for _, format := range formats {
		var body bytes.Buffer
		zip := gzip.NewWriter(&body)
		_, _ = zip.Write(informertest.Encode(t, format, informertest.WirePods(pods)))
		_ = zip.Close()
		read := func(body []byte) ([]*corev1.Pod, error) {
			lw := listWatchOf(t, format, compressed{format, body})
			got, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil))
			return got, err
		}
		got, err := read(body.Bytes())
		if err != nil || len(got) != pods || got[pods-1].Name != "web-49" {
			t.Errorf("%s: %d pods, %v", format, len(got), err)
		}
		for most := body.Len() - 1; most >= 0; most -= 37 {
			if _, err := read(body.Bytes()[:most]); err == nil {
				t.Errorf("%s: a list of %d bytes of %d", format, most, body.Len())
			}
		}
	}
}
