// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package apiary is the entry to a library that provides Kubernetes resources as cells
// of applications built on [github.com/cilium/hive]. It holds no code. This page shows
// which package does what, and where to begin.
//
// # Where to begin
//
// If you write a hive application, begin with package cells. Its Client cell provides
// the Kubernetes clients, and one line provides a resource:
//
//	app := hive.New(
//		cells.Client,
//		cells.Resource[*corev1.Pod](),
//		cell.Invoke(func(pods resource.Resource[*corev1.Pod]) { … }),
//	)
//
// The doc comment of resource.Resource is the contract: the order of events, what Done
// does, what blocks. Read it before you write a consumer.
//
//   - To test a consumer without a server, use package resource/resourcetest. The module
//     github.com/apiary-go/apiary/devcluster runs a real server.
//   - To wait until objects are ready, use package status.
//   - To mirror a collection without its objects in memory, use package informer/mirror.
//     To send it to a service, use package informer/push.
//   - For any other use of a collection, implement store.Sink and run an
//     informer.Reflector.
//
// # How it fits
//
//	API server
//	    |  lists in pages, watches
//	informer.Source       one object at a time, decoded when needed
//	    |
//	informer.Reflector    lists, watches, resumes, lists again, backs off
//	    |  passes and changes: the protocol of store.Sink
//	store.Store           keeps the objects, indexed
//	    |  each effective change
//	resource.Resource     events for each subscriber, and Done back
//	    |
//	status.Engine         readiness of objects
//	    |
//	cells                 hive cells, metrics and health
//
// A pass is one complete read of the collection. Changes arrive between passes. A deletion
// is concluded from a complete pass or from the watch, and from nothing else.
//
// Each package imports only packages above it in the picture, so each can be used without
// those below it. Package store knows no server. Only package cells provides hive cells.
//
// # What holds everywhere
//
//   - Objects of resources and stores are shared and must not be modified. Use DeepCopy.
//   - No request is sent before a consumer needs it. One informer serves all consumers.
//   - A function that can block takes a context. After a stop no goroutine is left.
//   - Failures are retried with backoff. An informer.Observer receives each as a typed
//     value, and errors name their cause.
//   - A slow consumer costs memory by the number of keys, not of changes, and delays no
//     other consumer.
//
// # Logs, metrics, health
//
// The packages below cells log only panics and failures that no caller gets. Package
// cells makes logs, Prometheus metrics and hive health of what a Reflector reports to its
// Observer and of the Stats of a resource.
package apiary
