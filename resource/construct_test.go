// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
)

func TestBadConstruction(t *testing.T) {
	lw := &cache.ListWatch{}
	for want, make := range map[string]func(cell.Lifecycle) Resource[*corev1.Pod]{
		"resource v1.Pod: no ListerWatcher was given": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, nil, nil)
		},
		"resource pods: no Source was given": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return NewFromSource[*corev1.Pod](lc, nil, WithName("pods"))
		},
		"it must return *v1.Pod": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithTransform(func(p *corev1.Pod) (*corev1.Node, error) { return nil, nil }))
		},
		"index": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithIndexers(cache.Indexers{"node": nil}))
		},
		"PageSize is -1": func(lc cell.Lifecycle) Resource[*corev1.Pod] {
			return New[*corev1.Pod](lc, lw, WithSettings(informer.Settings{PageSize: -1}))
		},
	} {
		lc := &cell.DefaultLifecycle{}
		r := make(lc)
		expectClosed(t, r.Events(t.Context()))
		_, storeErr := r.Store(t.Context())
		err := lc.Start(quiet(), t.Context())
		if err == nil || storeErr == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("start says %v, Store says %v, want %q", err, storeErr, want)
		}
	}
}

func TestDisabled(t *testing.T) {
	why := errors.New("no cluster")
	r := Disabled[*corev1.Pod](why)
	expectClosed(t, r.Events(t.Context()))
	if _, err := r.Store(t.Context()); !errors.Is(err, why) {
		t.Fatalf("got %v", err)
	}
	r.Observe(t.Context(), nil, func(err error) {
		if err != why {
			t.Fatalf("got %v", err)
		}
	})
	for _, bad := range []Resource[*corev1.Pod]{
		Filter(r, func(*corev1.Pod) bool { return true }),
		Filter[*corev1.Pod](startRig(t).view, nil),
		Filter[*corev1.Pod](foreign{}, func(*corev1.Pod) bool { return true }),
	} {
		if _, err := bad.Store(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
}

type foreign struct{ Resource[*corev1.Pod] }

// Every resource of the package can be inspected.
func TestInspector(t *testing.T) {
	for _, r := range []Resource[*corev1.Pod]{
		newRig(t).view, Filter[*corev1.Pod](newRig(t).view, local), Disabled[*corev1.Pod](errTest),
		NewFromSource[*corev1.Pod](&cell.DefaultLifecycle{}, nil),
	} {
		if i, ok := r.(Inspector); !ok || i.Stats().Name == "" {
			t.Errorf("%T cannot be inspected", r)
		}
	}
}

// The place of a subscription is that of the call, whatever it was called through.
func TestSite(t *testing.T) {
	type named Resource[*corev1.Pod]
	r := startRig(t)
	var n named = Filter[*corev1.Pod](r.view, local)
	n.Events(t.Context())
	n.Observe(t.Context(), nil, nil)
	for _, s := range r.view.Stats().Subscribers {
		if !strings.Contains(s.Site, "construct_test.go:") {
			t.Errorf("site %q", s.Site)
		}
	}
}
