// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/status"
)

// oldMapper knows what was installed when it was last reset.
type oldMapper struct {
	meta.RESTMapper
	installed map[schema.GroupKind]bool
	known     map[schema.GroupKind]bool
	resets    int
}

func (m *oldMapper) RESTMapping(kind schema.GroupKind, _ ...string) (*meta.RESTMapping, error) {
	if !m.known[kind] {
		return nil, &meta.NoKindMatchError{GroupKind: kind}
	}
	return &meta.RESTMapping{GroupVersionKind: kind.WithVersion("v1")}, nil
}

func (m *oldMapper) Reset() {
	m.resets++
	m.known = map[schema.GroupKind]bool{}
	for kind := range m.installed {
		m.known[kind] = true
	}
}

// A mapper is reset for a kind that it does not know, and for one that is no longer
// what it was, but not all the time.
func TestByMapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kind := schema.GroupKind{Group: "example.org", Kind: "Widget"}
		m := &oldMapper{installed: map[schema.GroupKind]bool{}}
		mapping := status.ByMapper(m)
		for range 10 {
			if _, err := mapping(t.Context(), kind, false); !meta.IsNoMatchError(err) {
				t.Fatalf("got %v", err)
			}
		}
		if m.resets != 1 {
			t.Errorf("reset %d times at once", m.resets)
		}
		m.installed[kind] = true
		time.Sleep(time.Minute)
		if got, err := mapping(t.Context(), kind, false); err != nil || got.GroupVersionKind.Version != "v1" {
			t.Errorf("after it was installed: %v, %v", got, err)
		}
		delete(m.installed, kind)
		time.Sleep(time.Minute)
		if _, err := mapping(t.Context(), kind, false); err != nil {
			t.Errorf("what is known is asked for: %v", err)
		}
		if _, err := mapping(t.Context(), kind, true); !meta.IsNoMatchError(err) || m.resets != 3 {
			t.Errorf("after it went: %v, %d resets", err, m.resets)
		}
	})
}
