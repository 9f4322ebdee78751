// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// NewLister shows what the filter of a view keeps, and nothing else.
func TestNewLister(t *testing.T) {
	r := startRig(t)
	r.view.want()
	r.sync("aa", "ab", "b")
	for _, tt := range []struct {
		view Resource[*corev1.Pod]
		want int
	}{
		{r.view, 3},
		{Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool { return p.Name != "ab" }), 2},
	} {
		s, err := tt.view.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLister(s, corev1.Resource("pods"), "app")
		if err != nil {
			t.Fatal(err)
		}
		if got := len(l.In("ns").List(nil)); got != tt.want {
			t.Errorf("got %d, want %d", got, tt.want)
		}
		if got := len(l.List(labels.SelectorFromSet(labels.Set{"app": "web"}))); got != 0 {
			t.Errorf("got %d that have no such label", got)
		}
		if _, err := l.In("ns").Get("ab"); apierrors.IsNotFound(err) != (tt.want == 2) {
			t.Errorf("got %v", err)
		}

		// Listers of client-go use the index that ours has added.
		theirs := listers.NewPodLister(s.CacheStore().(cache.Indexer))
		if pods, err := theirs.Pods("ns").List(labels.Everything()); len(pods) != tt.want || err != nil {
			t.Errorf("client-go's lister: got %d, %v; want %d", len(pods), err, tt.want)
		}
		c := s.CacheStore().(cache.Indexer)
		if c.GetIndexers()[cache.NamespaceIndex] == nil || c.GetIndexers()["label:app"] == nil {
			t.Errorf("indexers: %v", c.GetIndexers())
		}
	}
}

func TestNewListerFails(t *testing.T) {
	_, err := NewLister[*corev1.Pod](nil, corev1.Resource("pods"))
	if err == nil || !strings.Contains(err.Error(), "not made by package resource") {
		t.Errorf("got %v", err)
	}
	r := startRig(t)
	r.view.want()
	r.sync("a")
	s, err := r.view.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewLister(s, corev1.Resource("pods"), ""); err == nil {
		t.Error("a label without a key was accepted")
	}
}
