// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// disabled is a Resource without objects and events.
type disabled[T runtime.Object] struct {
	name   string
	reason error
	panics *usercode.Panics
}

// Disabled returns a resource without a cluster. Its channels are closed from the
// beginning, and Store fails at once with an error that wraps reason. Of the options,
// [WithName] and [WithLogger] apply.
func Disabled[T runtime.Object](reason error, opts ...Option) Resource[T] {
	o := gather[T](opts)
	return disabled[T]{name: o.name, reason: reason, panics: usercode.New(o.name, o.log)}
}

// Events implements Resource.
func (d disabled[T]) Events(context.Context, ...EventsOpt) <-chan Event[T] {
	out := make(chan Event[T])
	close(out)
	return out
}

// Observe implements Resource. It calls complete with the reason.
func (d disabled[T]) Observe(_ context.Context, next func(Event[T]), complete func(error)) {
	_, complete = orIgnore(next, complete)
	site := callSite(2)
	go func() {
		_ = d.panics.Call("complete function", site.String(), store.Key{}, func() { complete(d.reason) })
	}()
}

// Store implements Resource.
func (d disabled[T]) Store(context.Context) (Store[T], error) {
	return nil, fmt.Errorf("resource %s is disabled: %w", d.name, d.reason)
}

// Resync implements Resource. It does nothing.
func (d disabled[T]) Resync(error) {}

// Stats implements [Inspector].
func (d disabled[T]) Stats() Stats { return Stats{Name: d.name, Panics: d.panics.Count()} }
