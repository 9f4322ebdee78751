// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/internal/check"
)

// KeyFunc returns the key of an object. It must be pure. It fails if obj has no key.
type KeyFunc[T any] func(obj T) (Key, error)

// Of returns the key of obj. It fails if f fails, and with [ErrNoName] if the key has
// no name.
func (f KeyFunc[T]) Of(obj T) (Key, error) {
	key, err := f(obj)
	if err == nil && key.Name == "" {
		err = ErrNoName
	}
	return key, err
}

// MetaNamespaceKeyFunc is the [KeyFunc] of API objects: namespace and name. It
// fails if obj has no object metadata, or no name in it.
func MetaNamespaceKeyFunc[T any](obj T) (Key, error) {
	m, err := metadata(obj)
	if err != nil {
		return Key{}, fmt.Errorf("key of a %T: %w", obj, err)
	}
	if m.GetName() == "" {
		return Key{}, fmt.Errorf("key of a %T: %w", obj, ErrNoName)
	}
	return keyOf(m), nil
}

// NamespaceIndex is the name of the index of namespaces, as in client-go. Listers use it.
// [MetaNamespaceIndexFunc] is its function.
const NamespaceIndex = "namespace"

// MetaNamespaceIndexFunc is the [IndexFunc] of the namespaces of API objects. It fails if
// obj has no object metadata.
func MetaNamespaceIndexFunc[T any](values []string, obj T) ([]string, error) {
	m, err := metadata(obj)
	if err != nil {
		return nil, fmt.Errorf("namespace of a %T: %w", obj, err)
	}
	return append(values, m.GetNamespace()), nil
}

var errNil = errors.New("it is nil")

// metadata returns the metadata of obj.
func metadata(obj any) (metav1.Object, error) {
	if check.IsNil(obj) {
		return nil, errNil
	}
	if m, ok := obj.(metav1.Object); ok {
		return m, nil
	}
	return meta.Accessor(obj) // it handles more types
}

// MetaWith returns a meta with this key. If obj is an API object and not nil, the meta has
// its UID and version.
func MetaWith[T any](key Key, obj T) Meta {
	m := Meta{Key: key}
	if api, err := metadata(obj); err == nil {
		m.UID, m.Version = api.GetUID(), api.GetResourceVersion()
	}
	return m
}
