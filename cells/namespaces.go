// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apiary-go/apiary/informer/namespaces"
)

// InNamespaces selects the objects of several namespaces for a [Resource], which lists and
// watches each of them. It needs no permissions outside of the namespaces, so Roles are enough.
// Without names, the resource is empty. See resource.NewInNamespaces for the contract and the
// cost. Mirrors and pushes, and a resource with [Record], cannot have it.
func InNamespaces(names ...string) Option {
	return func(o *options) {
		set, err := namespaces.NewSet(names...)
		if err != nil {
			o.failf("cells.InNamespaces: %w", err)
			return
		}
		o.selectSet(set, setText(set.Names()))
	}
}

// InNamespaceSet is like [InNamespaces], for a set that the program can change at any time.
// Several resources can share one set.
//
//	var tenants namespaces.Set
//
//	cells.Resource[*corev1.Pod](cells.InNamespaceSet(&tenants))
//	…
//	err := tenants.Add("shop")
func InNamespaceSet(set *namespaces.Set) Option {
	return func(o *options) {
		if set == nil {
			o.failf("cells.InNamespaceSet: the set is nil: give one of namespaces.NewSet")
			return
		}
		o.selectSet(set, "in a set of namespaces")
	}
}

func (o *options) selectSet(set *namespaces.Set, text string) {
	if o.set != nil {
		o.failf("cells.InNamespaces or cells.InNamespaceSet was given before: give one of them, once")
	}
	o.set, o.setText = set, text
}

// setText describes a set that does not change.
func setText(names []string) string {
	const most = 10
	switch n := len(names); {
	case n == 0:
		return "in no namespace"
	case n > most:
		return fmt.Sprintf("in namespaces %s and %d more", strings.Join(names[:most], ", "), n-most)
	}
	return "in namespaces " + strings.Join(names, ", ")
}

// checkSet checks options that do not go with a set of namespaces.
func (o *options) checkSet() error {
	switch {
	case o.set == nil:
	case o.namespace != "":
		return errors.New("cells.InNamespace does not go with cells.InNamespaces and cells.InNamespaceSet: give one of them")
	case o.recordTo != "":
		return errors.New("cells.Record records the requests of one namespace: leave out cells.Record, or select one namespace with cells.InNamespace")
	}
	return nil
}

// errSet is the error of mirrors and pushes with a set of namespaces.
var errSet = errors.New("cells.InNamespaces and cells.InNamespaceSet are for resources: use one mirror or push for each namespace")

// in returns the scope of one namespace of a set.
func (p scope) in(namespace string) scope {
	p.namespace = namespace
	return p
}
