// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import "github.com/apiary-go/apiary/store"

// Object is an object as a mirror.ResourceEventHandler receives it.
type Object[T any] struct {
	// Meta is the key, the UID and the resource version.
	store.Meta

	// Object is the object, transformed. It belongs to the handler.
	Object T

	// IsInInitialList is set for the objects of the first complete list. Their state is newer
	// if they changed before the delivery. See mirror.ResourceVersionInformer.HasSynced.
	IsInInitialList bool
}
