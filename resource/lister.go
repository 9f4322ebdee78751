// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/store"
)

// NewLister returns a lister of s, which a [Resource] gave: by namespace and by
// selector. Of a view that [Filter] made it lists what the filter keeps. The
// resource stands in errors; labels that are often selected by are worth an index,
// see [store.NewLister].
//
// It fails as that does, and if s was not made by this package.
func NewLister[T runtime.Object](s Store[T], resource schema.GroupResource, labelKeys ...string) (store.Lister[T], error) {
	view, ok := s.(storeView[T])
	if !ok {
		return store.Lister[T]{}, fmt.Errorf("resource.NewLister: a %T was not made by package resource", s)
	}
	l, err := store.NewLister(view.store, resource, labelKeys...)
	if err != nil {
		return store.Lister[T]{}, err
	}
	return l.Where(view.keep), nil
}
