// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import "github.com/apiary-go/apiary/store"

// The Sink protocol is that of package store. It stands here under the same
// names for those who write a sink for a [Reflector] and need no store.
type (
	Sink[T any]  = store.Sink[T]
	SinkDefaults = store.SinkDefaults
	Key          = store.Key
	Meta         = store.Meta
	Pass         = store.Pass
	PageInfo     = store.PageInfo
	Reason       = store.Reason
	FullError    = store.FullError
)

// ErrResync is [store.ErrResync].
var ErrResync = store.ErrResync
