// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Key is the name of a Kubernetes object, and its namespace if it has one. The zero Key is
// the key of no object. Keys are comparable and can be map keys.
type Key struct {
	// Name is the name of the object.
	Name string

	// Namespace is the namespace. It is empty if the object is not namespaced.
	Namespace string
}

// KeyOf returns the key of obj. It is the zero Key if obj has no metadata, as a list has
// none. Every type of object that a source accepts has metadata.
func KeyOf(obj runtime.Object) Key {
	m, err := meta.Accessor(obj)
	if err != nil {
		return Key{}
	}
	return keyOf(m)
}

func keyOf(m metav1.Object) Key { return Key{Name: m.GetName(), Namespace: m.GetNamespace()} }

// ParseKey is the inverse of [Key.String]. It fails if s is empty, has more
// than one slash, or an empty part.
func ParseKey(s string) (Key, error) {
	namespace, name, namespaced := strings.Cut(s, "/")
	if !namespaced {
		namespace, name = "", s
	}
	if name == "" || strings.Contains(name, "/") || namespaced && namespace == "" {
		return Key{}, fmt.Errorf("key %q: want \"namespace/name\" or \"name\"", s)
	}
	return Key{Name: name, Namespace: namespace}, nil
}

// String returns "namespace/name", or "name" if there is no namespace, like client-go's
// MetaNamespaceKeyFunc.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Compare orders keys by namespace, then by name.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name))
}

// Meta identifies one state of one object.
type Meta struct {
	Key Key

	// UID distinguishes successive objects with the same key. It is empty if it is not
	// known. An empty UID is equal to every other.
	UID types.UID

	// Version is the resource version. Only [CompareVersions] interprets it.
	Version string
}

// MetaOf returns the meta of obj.
func MetaOf(obj metav1.Object) Meta {
	return Meta{Key: keyOf(obj), UID: obj.GetUID(), Version: obj.GetResourceVersion()}
}

// SameObject returns true if m and other are states of one object: their keys are equal,
// and their UIDs are equal or not both known.
func (m Meta) SameObject(other Meta) bool {
	return m.Key == other.Key && sameUID(m.UID, other.UID)
}

func sameUID(a, b types.UID) bool { return a == b || a == "" || b == "" }

// String returns the key and the version, for logs and errors.
func (m Meta) String() string {
	return m.Key.String() + "@" + m.Version
}
