// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package ciliumcompat has the API of Cilium's package pkg/k8s/resource, on top of package
// resource. A program that uses Cilium's package changes its imports:
//
//	resource "github.com/apiary-go/apiary/resource/ciliumcompat"
//
// The names and types are those of Cilium v1.20. Package resource documents the behaviour.
// docs/from-cilium.md is a guide, and says how to move on to package resource.
//
// # What differs from Cilium
//
// Construction:
//
//   - [WithMetric] has no effect. Cilium's metrics of events do not exist here. The workqueue
//     metrics of the provider do.
//   - [WithCRDSync] has no effect. The informer asks for a kind that is not installed again
//     every five to ten seconds.
//   - A transform must return a T, and gets no tombstones. Otherwise the start hook fails. The
//     type that a transform of [WithLazyTransform] returns shows only with each object, which
//     is then left out. The first argument of WithLazyTransform is not called.
//   - There is no NewTableEventStream, since it needs StateDB, and no AddToScheme.
//
// Events:
//
//   - An object that was deleted and created anew under its name is a Delete and then an
//     Upsert. Cilium emits one Upsert.
//   - An object that a list has in the version that the store has causes no event.
//   - A filtered resource emits a Delete for an object that the filter no longer keeps.
//     Cilium drops the event.
//   - Stop does not wait for the Done of events that were received.
//   - A panic of a transform, a filter or an index function does not end the process.
//   - An unknown [ErrorAction] counts as ErrorActionRetry. Cilium panics.
//   - A [WorkItem] is a Key. That of a Sync is the zero Key.
//
// Stores:
//
//   - The store of CacheStore is read-only. Add, Update, Delete and Replace fail with
//     resource.ErrReadOnly. Tests fill the server and not the store, with package
//     resourcetest or with a fake client.
//   - The error of Store is a *resource.NotSyncedError. It wraps the error of the context.
package ciliumcompat
