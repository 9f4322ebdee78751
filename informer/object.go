// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import "github.com/apiary-go/apiary/store"

// Object is an object that a [mirror.ResourceEventHandler] is told of.
type Object[T any] struct {
	// Meta is the key, the UID and the resource version.
	store.Meta

	// Object is the object, transformed. It belongs to the handler.
	Object T

	// IsInInitialList is set for what the first complete list had, in a newer
	// state if it changed before it was delivered, and for nothing else; see
	// [mirror.ResourceVersionInformer.HasSynced].
	IsInInitialList bool
}
