// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"cmp"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Key of a Kubernetes object: its name, and its namespace if it has one.
//
// The zero Key names no object. Keys are comparable and may be used as map
// keys.
type Key struct {
	// Name is the name of the object.
	Name string

	// Namespace is the namespace, or empty if the object is not namespaced.
	Namespace string
}

// KeyOf returns the key of obj.
func KeyOf(obj metav1.Object) Key {
	return Key{Name: obj.GetName(), Namespace: obj.GetNamespace()}
}

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

// String returns "namespace/name", or "name" where there is no namespace: the
// form that client-go's MetaNamespaceKeyFunc gives.
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

// Meta identifies one state of one object: which object, which incarnation of
// it, which version.
type Meta struct {
	Key Key

	// UID tells apart objects that bore the same key one after the other. It
	// is empty if the source does not know it; an empty UID equals every other.
	UID types.UID

	// Version is the resource version, opaque but for [CompareVersions].
	Version string
}

// MetaOf returns the meta of obj.
func MetaOf(obj metav1.Object) Meta {
	return Meta{Key: KeyOf(obj), UID: obj.GetUID(), Version: obj.GetResourceVersion()}
}

// SameObject reports whether m and other are states of one incarnation of one
// object: equal keys, and UIDs that are equal or not both known.
func (m Meta) SameObject(other Meta) bool {
	return m.Key == other.Key && sameUID(m.UID, other.UID)
}

func sameUID(a, b types.UID) bool { return a == b || a == "" || b == "" }

// String returns the key and the version, for logs and errors.
func (m Meta) String() string {
	return m.Key.String() + "@" + m.Version
}
