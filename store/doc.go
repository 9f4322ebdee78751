// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package store keeps a collection of Kubernetes objects in memory, and defines the
// protocol by which a source fills it. Most programs get a store from package resource.
// Use this package to read objects without subscribers, to write a sink, or to fill a
// store from another source.
//
//	pods, err := store.New(store.Config[*corev1.Pod]{
//		Name: "pods",
//		Indexers: store.Indexers[*corev1.Pod]{"node": byNode}, // appends pod.Spec.NodeName
//	})
//	…
//	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{
//		Name: "pods", Source: source, Sink: pods,
//	})
//	go reflector.Run(ctx)
//	…
//	onNode, err := pods.ByIndex("node", "worker-1")
//
// [Sink] is the protocol. A source hands a collection to a Sink object by object, and then
// its changes. The package does not depend on API servers or subscribers.
//
// [Store] is the Sink that keeps the objects. It is typed and indexed, and its readers do
// not delay the writer. Around it:
//
//   - [Indexer] is a Store that is written to with objects.
//   - [UndeltaStore] is an Indexer that pushes each of its states.
//   - [Part] is the Sink for one namespace of a Store that several sources fill.
//   - [Snapshot] is a Store at one point in time, and [Index] is one of its indexes.
//   - [Lister] reads a Store by namespace and selector.
//
// If an index function panics, the object is missing from that index, see [IndexError]. A
// panic of OnChange, OnIndexError or an iterator reaches the writer. Package resource has
// the rule for panics and [PanicError].
//
// Package fifo is a queue that gives each key to one consumer at a time. Package poller
// fills a Sink from a source that can only be listed.
package store
