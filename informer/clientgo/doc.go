// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package clientgo fills the stores and queues of client-go from an [informer.Reflector];
// it is for existing code that uses a cache.Store, a cache.Queue or a
// cache.ResourceEventHandler.
//
//	indexer, reflector, err := clientgo.NewNamespaceKeyedIndexerAndReflector[*corev1.Pod](listWatch)
//	err = reflector.Run(ctx) // until ctx ends
//
// [StoreSink] makes a sink of a cache.Store or a cache.Queue. [NewNamedController] fills a
// queue and processes the items. [NewInformer] keeps a cache.Store and calls a
// cache.ResourceEventHandler. Objects are shared and must not be modified.
package clientgo
