// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Lister reads a [Store] of API objects by namespace and by label selector.
//
// Make one with [NewLister]. It is a small immutable value that can be copied. Its methods
// can be called from any goroutine and do not block. Each returns one state of the
// collection. The objects are shared and must not be modified.
//
// A Lister reads as few objects as it can. It uses the index of namespaces, or the index
// of a label for which the selector requires one of some values, whichever has fewer
// objects. It delays the source for one lookup per value of the selector. Labels are
// indexed on request, see [NewLister].
type Lister[T any] struct {
	store     *Store[T]
	resource  schema.GroupResource
	labelKeys []string // those that are indexed
	namespace string
	keep      func(T) bool // nil keeps all
}

// NewLister returns a Lister of all objects of s. The resource is used in the errors of
// [Lister.Get]; for pods it is "pods".
//
// It adds indexes to s, like [Store.AddIndexers]: the [NamespaceIndex], and one for each
// of labelKeys. The index of the label "app" is "label:app". An existing index with such a
// name is used as it is, so listers share their indexes.
//
// It fails if s is nil, if T is not an API object, if the resource has no name, or if one
// of labelKeys is not a valid label key.
func NewLister[T any](s *Store[T], resource schema.GroupResource, labelKeys ...string) (Lister[T], error) {
	if err := checkLister(s, resource, labelKeys); err != nil {
		return Lister[T]{}, fmt.Errorf("store.NewLister: %w", err)
	}
	l := Lister[T]{store: s, resource: resource, labelKeys: append([]string(nil), labelKeys...)}
	indexers := Indexers[T]{NamespaceIndex: MetaNamespaceIndexFunc[T]}
	for _, key := range l.labelKeys {
		name, f := LabelIndex[T](key)
		indexers[name] = f
	}
	if err := l.EnsureIndexers(indexers); err != nil {
		return Lister[T]{}, fmt.Errorf("store.NewLister: %w", err)
	}
	return l, nil
}

func checkLister[T any](s *Store[T], resource schema.GroupResource, labelKeys []string) error {
	object := reflect.TypeFor[metav1.Object]()
	switch {
	case s == nil:
		return errors.New("the store is nil: make one with New")
	case !reflect.TypeFor[T]().Implements(object):
		return fmt.Errorf("%s is no API object: it must implement %s", reflect.TypeFor[T](), object)
	case resource.Resource == "":
		return errors.New("the resource has no name: give that of the URL, such as \"pods\"")
	}
	for _, key := range labelKeys {
		if problems := validation.IsQualifiedName(key); len(problems) > 0 {
			return fmt.Errorf("%q is not the key of a label: %s", key, strings.Join(problems, "; "))
		}
	}
	return nil
}

// In returns a Lister of the objects of this namespace, whatever the namespace of l is. If
// namespace is empty, it is a Lister of all namespaces.
func (l Lister[T]) In(namespace string) Lister[T] {
	l.namespace = namespace
	return l
}

// Where returns a Lister of the objects of l for which keep returns true. If keep is nil,
// it returns l. keep must be pure. The reader calls it, without a lock.
func (l Lister[T]) Where(keep func(T) bool) Lister[T] {
	switch inner := l.keep; {
	case keep == nil:
	case inner == nil:
		l.keep = keep
	default:
		l.keep = func(obj T) bool { return inner(obj) && keep(obj) }
	}
	return l
}

// Get returns the object with this name in the namespace of l. If l is of all namespaces,
// it returns the cluster-scoped object with this name. If there is no such object,
// apierrors.IsNotFound is true for the error.
func (l Lister[T]) Get(name string) (T, error) {
	obj, ok := l.store.Get(Key{Namespace: l.namespace, Name: name})
	if !ok || l.keep != nil && !l.keep(obj) {
		var none T
		return none, apierrors.NewNotFound(l.resource, name)
	}
	return obj, nil
}

// List returns the objects that selector matches, in no particular order. A nil selector
// matches all. The caller owns the slice, which is not nil.
func (l Lister[T]) List(selector labels.Selector) []T {
	found, match := l.find(selector)
	n := 0
	for _, records := range found {
		n += records.len()
	}
	if match != nil {
		n = min(n, 32) // the number of matches is not known
	}
	list := make([]T, 0, n)
	for _, records := range found {
		for rec := range records.all() {
			if match == nil || match(rec.obj) {
				list = append(list, rec.obj)
			}
		}
	}
	return list
}

// All iterates over the objects that selector matches, as they were when the iteration
// began, in no particular order. A nil selector matches all. No lock is held during the
// loop. It can block, break, and read or change the store.
func (l Lister[T]) All(selector labels.Selector) iter.Seq[T] {
	return func(yield func(T) bool) {
		found, match := l.find(selector)
		for _, records := range found {
			for rec := range records.all() {
				if (match == nil || match(rec.obj)) && !yield(rec.obj) {
					return
				}
			}
		}
	}
}

// ByIndex returns the objects of l that have any of values in the index, each once and in
// no particular order. The caller owns the slice, which is not nil. If there is no such
// index, the error wraps [ErrNoIndex].
func (l Lister[T]) ByIndex(index string, values ...string) ([]T, error) {
	if _, err := l.store.Index(index); err != nil {
		return nil, err
	}
	return distinct(l.store.narrowest([]lookup{{index, values}}), l.matcher(nil)), nil
}

// EnsureIndexers adds to the store of l those of indexers whose names it does not have,
// like [Store.AddIndexers]. Several goroutines can call it with the same names: one adds
// the indexes, and the others wait for it.
func (l Lister[T]) EnsureIndexers(indexers Indexers[T]) error {
	for name, fn := range indexers {
		err := l.store.AddIndexers(Indexers[T]{name: fn})
		if err != nil && !errors.Is(err, ErrIndexExists) {
			return err
		}
	}
	return nil
}
