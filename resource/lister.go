// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	goruntime "runtime"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/store"
)

// NewLister returns a lister of s by namespace and selector. s must be the store of a
// [Resource] of this package. For a view of [Filter], the lister returns only the objects
// of the view. The resource is for errors. Name the labels of frequent selectors in
// labelKeys, to index them; see [store.NewLister].
//
// NewLister fails like store.NewLister, and if s was not made by this package.
func NewLister[T runtime.Object](s Store[T], resource schema.GroupResource, labelKeys ...string) (store.Lister[T], error) {
	of, ok := s.(storeView[T])
	if !ok {
		return store.Lister[T]{}, fmt.Errorf("resource.NewLister: a %T was not made by package resource", s)
	}
	l, err := store.NewLister(of.view.store, resource, labelKeys...)
	if err != nil {
		return store.Lister[T]{}, err
	}
	l = l.Where(of.view.has())
	if of.lease != nil {
		l = l.Where(func(T) bool { goruntime.KeepAlive(of.lease); return true })
	}
	return l, nil
}
