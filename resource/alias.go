// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

// Key of a Kubernetes object: its name, and its namespace if it has one.
type Key = store.Key

// KeyOf returns the key of an object.
func KeyOf(obj metav1.Object) Key { return store.KeyOf(obj) }

// The protocol by which a resource is filled, for those who write an
// [informer.Source] for [NewFromSource] or a sink of their own beside a resource.
type (
	Meta         = store.Meta
	Sink[T any]  = store.Sink[T]
	Pass         = store.Pass
	PageInfo     = store.PageInfo
	SinkDefaults = store.SinkDefaults
)
