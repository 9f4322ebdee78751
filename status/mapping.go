// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// MappingFunc returns the resource that serves a kind, in its preferred version. If the
// server does not serve the kind, the error must satisfy meta.IsNoMatchError. With
// fresh the function must ask the server again, since the previous mapping has turned
// out wrong. It is called from many goroutines, and can block until ctx ends.
type MappingFunc func(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error)

// resetEvery is the least time between two resets of a mapper.
const resetEvery = 2 * time.Second

// ByMapper returns a MappingFunc that uses mapper. A meta.ResettableRESTMapper is reset
// when it does not know a kind, so that its answer is no older than the call. It is
// reset every two seconds at most, and calls wait for that. A request of a mapper
// cannot be interrupted: if the server does not answer, stopping takes as long as the
// timeout of the mapper's client.
//
// A discovery mapper, such as restmapper.NewDeferredDiscoveryRESTMapper, does not know
// the kinds of a group whose discovery failed, for example while the server of an
// aggregated API is down. Such a kind is reported as [KindNotInstalled], which [All]
// counts as NotFound. To wait for the deletion of such objects, use a MappingFunc that
// returns the error of discovery, as that of cells.Status does.
func ByMapper(mapper meta.RESTMapper) MappingFunc {
	r := &resetter{busy: make(chan struct{}, 1)}
	r.mapper, _ = mapper.(meta.ResettableRESTMapper)
	return func(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error) {
		requested := requestTime(ctx)
		if r.mapper == nil || !fresh {
			mapping, err := mapper.RESTMapping(kind)
			if r.mapper == nil || !meta.IsNoMatchError(err) {
				return mapping, err
			}
		}
		if err := r.resetAfter(ctx, requested); err != nil {
			return nil, fmt.Errorf("waiting to look up %s again: %w", kind, err)
		}
		return mapper.RESTMapping(kind)
	}
}

// resetter resets a mapper, every resetEvery at most.
type resetter struct {
	mapper meta.ResettableRESTMapper
	busy   chan struct{} // holds a value while a goroutine resets, or waits for resetEvery
	last   time.Time     // of the last reset; owned by the goroutine that has filled busy
}

// resetAfter returns once the mapper was reset after a time.
func (r *resetter) resetAfter(ctx context.Context, when time.Time) error {
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.last.After(when) {
		return nil
	}
	select {
	case <-time.After(time.Until(r.last.Add(resetEvery))):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.last = time.Now()
	r.mapper.Reset()
	return nil
}

// requestTimeKey is the context key of the time of the request that mappings are looked
// up for.
type requestTimeKey struct{}

// withRequestTime returns a context in which mappings must be no older than now, or than
// the request time that ctx has already.
func withRequestTime(ctx context.Context) context.Context {
	return context.WithValue(ctx, requestTimeKey{}, requestTime(ctx))
}

func requestTime(ctx context.Context) time.Time {
	if requested, ok := ctx.Value(requestTimeKey{}).(time.Time); ok {
		return requested
	}
	return time.Now()
}
