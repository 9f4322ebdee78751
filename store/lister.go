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
// It is a small value that never changes: copy it at will, and call its methods
// from any goroutine. They do not block, and what each returns is one state of the
// collection. The objects are shared and must not be modified.
//
// A Lister looks at as few objects as it can: those that the index of namespaces,
// or the index of a label that the selector demands a value of, has for what is
// asked, whichever are fewer. Labels are indexed on request, see [NewLister]. For
// that it holds up the source for one look-up per value that the selector names.
//
// Make one with [NewLister].
type Lister[T any] struct {
	store     *Store[T]
	resource  schema.GroupResource
	labelKeys []string // those that are indexed
	namespace string
	keep      func(T) bool // nil keeps all
}

// NewLister returns a Lister of all that s holds. The resource stands in the
// errors of [Lister.Get]; it is "pods" for pods.
//
// It has s index what it needs, as [Store.AddIndexers] does: namespaces, under
// [NamespaceIndex], and each of labelKeys, the index of the label "app" being
// "label:app". An index that s has under such a name is taken for the same one, so
// listers share theirs.
//
// It fails if s is nil, if T is not an API object, if the resource has no name, or
// if one of labelKeys could not be that of a label.
func NewLister[T any](s *Store[T], resource schema.GroupResource, labelKeys ...string) (Lister[T], error) {
	if err := checkLister(s, resource, labelKeys); err != nil {
		return Lister[T]{}, fmt.Errorf("store.NewLister: %w", err)
	}
	l := Lister[T]{store: s, resource: resource, labelKeys: append([]string(nil), labelKeys...)}
	indexers := Indexers[T]{NamespaceIndex: MetaNamespaceIndexFunc[T]}
	for _, key := range l.labelKeys {
		indexers[labelIndex(key)] = labelIndexFunc[T](key)
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
		return fmt.Errorf("%s is no API object: it has to implement %s", reflect.TypeFor[T](), object)
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

// In returns a Lister of the objects in namespace alone, in place of whatever
// namespace l is of; of those in all namespaces if it is empty.
func (l Lister[T]) In(namespace string) Lister[T] {
	l.namespace = namespace
	return l
}

// Where returns a Lister of those objects of l for which keep is true; l itself if
// keep is nil. keep must be pure. It is called by who reads, without a lock held.
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

// Get returns the object of that name in the namespace of l. If l is of all
// namespaces that is the object that has none, as cluster-scoped ones. If there is
// no such object the error is one for which apierrors.IsNotFound is true.
func (l Lister[T]) Get(name string) (T, error) {
	obj, ok := l.store.Get(Key{Namespace: l.namespace, Name: name})
	if !ok || l.keep != nil && !l.keep(obj) {
		var none T
		return none, apierrors.NewNotFound(l.resource, name)
	}
	return obj, nil
}

// List returns the objects that selector matches, in no particular order; all if
// it is nil. The slice is the caller's, and not nil.
func (l Lister[T]) List(selector labels.Selector) []T {
	found, match := l.find(selector)
	n := 0
	for _, records := range found {
		n += records.len()
	}
	if match != nil {
		n = min(n, 32) // how many will match is not known
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

// All iterates over the objects that selector matches, in no particular order, as
// they were when the iteration began; over all if it is nil.
//
// No lock is held meanwhile: the loop may take its time, break off, and use the
// store in any way, also change it.
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

// ByIndex returns those objects of l that index has under any of values, each
// once, in no particular order. The slice is the caller's, and not nil. If there is
// no such index the error wraps [ErrNoIndex].
func (l Lister[T]) ByIndex(index string, values ...string) ([]T, error) {
	if _, err := l.store.Index(index); err != nil {
		return nil, err
	}
	return distinct(l.store.narrowest([]lookup{{index, values}}), l.matcher(nil)), nil
}

// EnsureIndexers has the store of l add those of indexers that it does not have by
// their names, as [Store.AddIndexers] does. It may be called by several goroutines
// with the same names: one adds, the others wait until that is done.
func (l Lister[T]) EnsureIndexers(indexers Indexers[T]) error {
	for name, fn := range indexers {
		err := l.store.AddIndexers(Indexers[T]{name: fn})
		if err != nil && !errors.Is(err, ErrIndexExists) {
			return err
		}
	}
	return nil
}
