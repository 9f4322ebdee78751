// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"errors"
	"maps"
	"sync"
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

	mu        sync.Mutex
	installed map[schema.GroupKind]bool
	known     map[schema.GroupKind]bool
	resets    int
}

func (m *oldMapper) RESTMapping(kind schema.GroupKind, _ ...string) (*meta.RESTMapping, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.known[kind] {
		return nil, &meta.NoKindMatchError{GroupKind: kind}
	}
	return &meta.RESTMapping{GroupVersionKind: kind.WithVersion("v1")}, nil
}

func (m *oldMapper) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resets++
	m.known = maps.Clone(m.installed)
}

// A mapper is reset for a kind that it does not know, and for one that is no longer
// what it was, but not all the time, however many ask.
func TestByMapper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &oldMapper{installed: map[schema.GroupKind]bool{}}
		mapping := status.ByMapper(m)
		begun := time.Now()
		var asking sync.WaitGroup
		for range 10 {
			asking.Go(func() {
				if _, err := mapping(t.Context(), widgets, false); !meta.IsNoMatchError(err) {
					t.Errorf("got %v", err)
				}
			})
		}
		asking.Wait()
		if took := time.Since(begun); m.resets > 2 || took > 2*time.Second {
			t.Errorf("reset %d times in %v for ten who ask at once", m.resets, took)
		}
		m.installed[widgets] = true
		time.Sleep(time.Minute)
		if got, err := mapping(t.Context(), widgets, false); err != nil || got.GroupVersionKind.Version != "v1" {
			t.Errorf("after it was installed: %v, %v", got, err)
		}
		delete(m.installed, widgets)
		time.Sleep(time.Minute)
		before := m.resets
		if _, err := mapping(t.Context(), widgets, false); err != nil || m.resets != before {
			t.Errorf("what is known is asked for: %v", err)
		}
		if _, err := mapping(t.Context(), widgets, true); !meta.IsNoMatchError(err) || m.resets != before+1 {
			t.Errorf("after it went: %v, %d resets", err, m.resets-before)
		}
	})
}

// A kind is not said to be missing by what was the case before it was asked for: who
// asks soon after a reset waits for the next one, or as long as he can.
func TestByMapperAsksAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &oldMapper{installed: map[schema.GroupKind]bool{}}
		mapping := status.ByMapper(m)
		if _, err := mapping(t.Context(), widgets, false); !meta.IsNoMatchError(err) {
			t.Errorf("got %v", err)
		}
		m.installed[widgets] = true
		for _, fresh := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
			if _, err := mapping(ctx, widgets, fresh); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("with too little time: got %v", err)
			}
			cancel()
		}
		if _, err := mapping(t.Context(), widgets, false); err != nil {
			t.Errorf("right after it was installed: %v", err)
		}
		delete(m.installed, widgets)
		if _, err := mapping(t.Context(), widgets, true); !meta.IsNoMatchError(err) {
			t.Errorf("right after it went: %v", err)
		}
	})
}
