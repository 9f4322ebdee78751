// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package clientgo fills the stores and queues of client-go from an [informer.Reflector]. It
// is for existing code that uses a cache.Store, a cache.Queue or a cache.ResourceEventHandler.
//
//	lw := source.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "pods", "")
//	indexer, reflector, err := clientgo.NewNamespaceKeyedIndexerAndReflector[*corev1.Pod](lw)
//	if err != nil {
//		return err
//	}
//	go serve(indexer)         // any code that reads a cache.Indexer
//	return reflector.Run(ctx) // blocks until ctx ends
//
// [StoreSink] makes a sink of a cache.Store or a cache.Queue. [NewNamedController] fills a
// queue and processes its items. [NewInformer] keeps a cache.Store and calls a
// cache.ResourceEventHandler. Objects are shared and must not be modified.
package clientgo
