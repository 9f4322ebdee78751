// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package store keeps the state of a collection of Kubernetes objects in
// memory, and defines the protocol by which such a state is told.
//
// [Sink] is that protocol: whoever can tell a collection object by object, and
// its changes afterwards, drives a Sink; whoever wants to know a collection is
// one. The package knows nothing of API servers or subscribers.
//
// [Store] is the Sink that keeps the objects: typed, indexed, and made for
// readers that never hold up the writer. Around it:
//
//   - [Indexer] is a Store that is written to by objects, and [UndeltaStore] one
//     that pushes each of its states.
//   - [Snapshot] is a Store at one point in time, [Index] one of its indexes,
//     [Lister] a view of it by namespace and selector.
//
// A panic of an index function leaves the object out of that index, see [IndexError]. One
// of OnChange, OnIndexError or an iterator reaches the writer. The rule for panics, and for
// the [PanicError] that they become, is in the documentation of package resource.
//
// Package fifo queues objects, and gives each key to one consumer at a time. Package
// poller drives a Sink from a source that can only be listed.
package store
