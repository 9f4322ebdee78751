// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// MappingFunc says what a kind is served as, in its preferred version. If the server
// does not have the kind, the error is one that meta.IsNoMatchError recognises. With
// fresh the server is to be asked again: what was said before has turned out wrong.
// It is called from many goroutines, and may block until ctx ends.
type MappingFunc func(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error)

// resetEvery is how often a mapper is reset at most.
const resetEvery = 2 * time.Second

// ByMapper returns a MappingFunc that asks mapper. If that is a
// meta.ResettableRESTMapper it is reset, every two seconds at most, when it does not
// know a kind. The requests of a mapper cannot be interrupted: where the server does
// not answer, stopping takes as long as the timeout of its client.
func ByMapper(mapper meta.RESTMapper) MappingFunc {
	var (
		mu    sync.Mutex
		reset time.Time
	)
	renew := func() bool {
		resettable, ok := mapper.(meta.ResettableRESTMapper)
		if !ok {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(reset) >= resetEvery {
			reset = now
			resettable.Reset()
			return true
		}
		return false
	}
	return func(_ context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error) {
		if fresh {
			renew()
		}
		mapping, err := mapper.RESTMapping(kind)
		if meta.IsNoMatchError(err) && !fresh && renew() {
			return mapper.RESTMapping(kind)
		}
		return mapping, err
	}
}
