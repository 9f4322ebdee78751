// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

// view is the Resource of users: all of a resource, or a part of it.
type view[T runtime.Object] struct {
	*resource[T]
	demand *demand[T]        // of WithStopUnused, else nil; it runs resources like this one
	keep   func(T) bool      // nil keeps all
	same   func(a, b T) bool // nil: each change counts
	index  *store.Index[T]   // nil: the whole collection
	value  string            // in index
}

// Filter returns a view of r with only the objects for which keep returns true, in its
// events and its store. The view shares the informer and the store of r, and costs only
// the calls of keep. See [ByIndex] for many narrow views.
//
// If an object changes and keep is no longer true, the subscribers of the view get a
// Delete with the object that they last saw. If keep becomes true, they get an Upsert.
//
// keep must be pure. Several goroutines can call it at once: that of each subscriber,
// for each object of the replay and each key of the queue, and each reader of the store.
// A keep that is slow, hangs or panics affects only its own subscriber or reader.
//
// r must have been made by this package. If not, or if keep is nil, Store of the view
// returns an error with the reason, and the channels of Events are closed.
func Filter[T runtime.Object](r Resource[T], keep func(T) bool) Resource[T] {
	return narrow("Filter", r, func(v *view[T]) error {
		if keep == nil {
			return errors.New("no function was given")
		}
		v.keepOnly(keep)
		return nil
	})
}

// ByIndex returns a view of r with only the objects that have the value in the index. The
// index is one of [WithIndexers]. Its function decides what enters and leaves the view, as
// keep of [Filter] does.
//
// A change costs only the views whose value the object has or had. The replay of a view
// reads only its objects. A view costs memory for the keys that it has, and can be made and
// left thousands of times a second. So use ByIndex for views of a node, a namespace or a
// tenant, of which a program has many.
//
// A view of a view has the objects that are in both. The index of the inner one finds them;
// the function of the other one is called as a filter. If r has no such index, Store of the
// view returns an error with the reason, and the channels of Events are closed.
func ByIndex[T runtime.Object](r Resource[T], index, value string) Resource[T] {
	return narrow("ByIndex", r, func(v *view[T]) error { return v.narrowTo(index, value) })
}

// InNamespace returns a view of r with only the objects of a namespace. It is [ByIndex] if
// r has an index with the name [store.NamespaceIndex], and else a [Filter].
func InNamespace[T runtime.Object](r Resource[T], namespace string) Resource[T] {
	return narrow("InNamespace", r, func(v *view[T]) error {
		if v.indexers[store.NamespaceIndex] != nil {
			return v.narrowTo(store.NamespaceIndex, namespace)
		}
		v.keepOnly(func(obj T) bool { return store.KeyOf(obj).Namespace == namespace })
		return nil
	})
}

// WithLabel returns a view of r with only the objects whose label has the value. It is
// [ByIndex] if r has the index of [LabelIndex], and else a [Filter].
func WithLabel[T runtime.Object](r Resource[T], label, value string) Resource[T] {
	return narrow("WithLabel", r, func(v *view[T]) error {
		name, has := store.LabelIndex[T](label)
		if v.indexers[name] != nil {
			return v.narrowTo(name, value)
		}
		v.keepOnly(func(obj T) bool { return hasValue(has, obj, value) })
		return nil
	})
}

// LabelIndex returns an index of objects by the value of a label, for [WithIndexers]. Its
// name is "label:", and then the label. [NewLister] uses it too.
func LabelIndex(label string) cache.Indexers {
	name, f := store.LabelIndex[any](label)
	return cache.Indexers{name: func(obj any) ([]string, error) { return f(nil, obj) }}
}

// Distinct returns a view of r without the changes that do not matter: if same returns true
// for the object of the last event and the current one, there is no event. The store is that
// of r, and its WaitFor sees each change. Use [SameGeneration], [SameContent], or [SameBy].
//
// same must be pure and an equivalence, and follows the rules of keep in [Filter]. It is not
// called for an object that enters or leaves the view, for a new object with an old name,
// nor for a key that is retried. The object of a later Delete is one that is the same as that
// of the last event.
func Distinct[T runtime.Object](r Resource[T], same func(a, b T) bool) Resource[T] {
	return narrow("Distinct", r, func(v *view[T]) error {
		if same == nil {
			return errors.New("no function was given")
		}
		if inner := v.same; inner != nil {
			v.same = func(a, b T) bool { return inner(a, b) || same(a, b) }
		} else {
			v.same = same
		}
		return nil
	})
}

// narrow returns r with a change of its view.
func narrow[T runtime.Object](function string, r Resource[T], change func(*view[T]) error) Resource[T] {
	switch r := any(r).(type) {
	case view[T]:
		if r.err != nil {
			return r // the start hook and Store have the reason
		}
		if err := change(&r); err != nil {
			return Disabled[T](fmt.Errorf("resource.%s of %s: %w", function, r.name, err), WithName(r.name))
		}
		return r
	case disabled[T]:
		return r
	}
	return Disabled[T](fmt.Errorf("resource.%s: a %T was not made by package resource", function, r))
}

func (v *view[T]) keepOnly(keep func(T) bool) {
	if inner := v.keep; inner != nil {
		v.keep = func(obj T) bool { return inner(obj) && keep(obj) }
		return
	}
	v.keep = keep
}

// has returns the function of what is in the view, nil if everything is.
func (v view[T]) has() func(T) bool {
	if v.index == nil {
		return v.keep
	}
	index := v.indexers[v.index.Name()]
	return func(obj T) bool { return hasValue(index, obj, v.value) && (v.keep == nil || v.keep(obj)) }
}

// narrowTo makes the view one of a value of an index, or filters by the function of the
// index if it is one already.
func (v *view[T]) narrowTo(name, value string) error {
	has, ok := v.indexers[name]
	if !ok {
		return fmt.Errorf("%w: %q: add it with WithIndexers", store.ErrNoIndex, name)
	}
	if v.index != nil {
		v.keepOnly(func(obj T) bool { return hasValue(has, obj, value) })
		return nil
	}
	index, err := v.store.Index(name)
	v.index, v.value = &index, value
	return err
}

// hasValue returns true if the index function returns the value for obj.
func hasValue[T any](index store.IndexFunc[T], obj T, value string) bool {
	values, err := index(nil, obj)
	return err == nil && slices.Contains(values, value)
}
