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

// MappingFunc says what a kind is served as, in its preferred version. If the server
// does not have the kind, the error is one that meta.IsNoMatchError recognises. With
// fresh the server is to be asked again: what was said before has turned out wrong.
// It is called from many goroutines, and may block until ctx ends.
type MappingFunc func(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error)

// resetEvery is how often a mapper is reset at most.
const resetEvery = 2 * time.Second

// ByMapper returns a MappingFunc that asks mapper. If that is a
// meta.ResettableRESTMapper it is reset when it does not know a kind, so that what it
// says then is no older than the question. It is reset every two seconds at most, for
// which whoever asks waits. The requests of a mapper cannot be interrupted: where the
// server does not answer, stopping takes as long as the timeout of its client.
//
// A mapper by discovery, such as restmapper.NewDeferredDiscoveryRESTMapper, does not
// know the kinds of a group of which discovery has failed, as it does while the server
// of an aggregated API is down. Such a kind is told as [KindNotInstalled], which [All]
// counts as NotFound. Who waits for objects of such kinds to go needs a MappingFunc
// that returns the error of discovery, as that of cells.Status does.
func ByMapper(mapper meta.RESTMapper) MappingFunc {
	r := &renewal{turn: make(chan struct{}, 1)}
	r.mapper, _ = mapper.(meta.ResettableRESTMapper)
	return func(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error) {
		asked := askedIn(ctx)
		if r.mapper == nil || !fresh {
			mapping, err := mapper.RESTMapping(kind)
			if r.mapper == nil || !meta.IsNoMatchError(err) {
				return mapping, err
			}
		}
		if err := r.since(ctx, asked); err != nil {
			return nil, fmt.Errorf("waiting for the time to look up %s: %w", kind, err)
		}
		return mapper.RESTMapping(kind)
	}
}

// renewal has a mapper reset, not all the time.
type renewal struct {
	mapper meta.ResettableRESTMapper
	turn   chan struct{} // holds a value while somebody resets, or waits until he may
	last   time.Time     // that it was reset; whose turn it is
}

// since returns once the mapper was reset after a time.
func (r *renewal) since(ctx context.Context, when time.Time) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
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

// askedKey is the key in a context of when the question was asked for which mappings
// are looked up.
type askedKey struct{}

// asking has what is looked up under ctx be no older than now, if it has not been said
// before how old it may be.
func asking(ctx context.Context) context.Context {
	return context.WithValue(ctx, askedKey{}, askedIn(ctx))
}

func askedIn(ctx context.Context) time.Time {
	if asked, ok := ctx.Value(askedKey{}).(time.Time); ok {
		return asked
	}
	return time.Now()
}
