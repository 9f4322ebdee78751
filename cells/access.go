// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"iter"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// access is the use of a resource by code that does not know its type. Each function counts
// as a use: it starts the informer.
type access struct {
	// objects returns all objects. It blocks until the resource is synced.
	objects func(ctx context.Context) (iter.Seq2[store.Key, runtime.Object], error)

	// get returns the object with this key, or nil. It blocks as objects does.
	get func(ctx context.Context, key store.Key) (runtime.Object, error)

	// events subscribes under a name. Each event is done when it is yielded. The sequence
	// ends with ctx or the resource.
	events func(ctx context.Context, subscriber string) iter.Seq2[resource.EventKind, runtime.Object]
}

func newAccess[T runtime.Object](r resource.Resource[T]) *access {
	return &access{
		objects: func(ctx context.Context) (iter.Seq2[store.Key, runtime.Object], error) {
			s, err := r.Store(ctx)
			if err != nil {
				return nil, err
			}
			return func(yield func(store.Key, runtime.Object) bool) {
				for key, obj := range s.All() {
					if !yield(key, obj) {
						return
					}
				}
			}, nil
		},
		get: func(ctx context.Context, key store.Key) (runtime.Object, error) {
			s, err := r.Store(ctx)
			if err != nil {
				return nil, err
			}
			if obj, found, _ := s.GetByKey(key); found {
				return obj, nil
			}
			return nil, nil
		},
		events: func(ctx context.Context, subscriber string) iter.Seq2[resource.EventKind, runtime.Object] {
			// It subscribes now, not when the sequence is read.
			events := r.Events(ctx, resource.WithSubscriberName(subscriber))
			return func(yield func(resource.EventKind, runtime.Object) bool) {
				for ev := range events {
					ev.Done(nil)
					var obj runtime.Object
					if ev.Kind != resource.Sync {
						obj = ev.Object
					}
					if !yield(ev.Kind, obj) {
						return
					}
				}
			}
		},
	}
}

// closed returns a function that blocks until done is closed.
func closed(done <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
