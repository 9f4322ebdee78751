// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package apiary is the door to a library that gives applications built on
// [github.com/cilium/hive] their Kubernetes resources as cells. It holds no code:
// this page says which package does what, how they fit, and where to begin.
//
// # Where to begin
//
// If you write a hive application, begin with package cells. Its Client cell
// provides the Kubernetes clients, and one line provides a resource:
//
//	cells.Resource[*corev1.Pod]()
//
// after which a constructor may ask for a resource.Resource[*corev1.Pod]. The
// doc comment of that interface, in package resource, is the contract between you
// and the library: which events come in which order, what Done means, what blocks.
// Read it before writing a consumer.
//
// If you test consumers, package resource/resourcetest gives you a resource that
// your test drives, without a server. If you want a server in your tests, the module
// github.com/apiary-go/apiary/devcluster runs a real one.
//
// If you wait for objects to be ready, or report whether they are, package status
// tells.
//
// If you have something else to do with the objects of a collection than to keep
// them in memory, write a store.Sink and drive it with an informer.Reflector.
//
// # How it fits
//
//	API server
//	    |  lists in pages, watches
//	informer.Source       one object at a time, decoded when wanted
//	    |
//	informer.Reflector    lists, watches, resumes, lists anew, backs off
//	    |  passes and changes: the protocol of store.Sink
//	store.Store           keeps the objects, indexed
//	    |  each effective change
//	resource.Resource     events for each subscriber, Done back
//	    |
//	status.Engine         whether objects are ready
//	    |
//	cells                 wired into a hive, with metrics and health
//
// A pass is one complete statement of what there is; changes are what happens in
// between. That an object is gone is concluded from a complete pass or from the
// watch, and from nothing else.
//
// Packages know only those above them in the picture: nothing below the Reflector
// speaks to the API server, nothing above the resource knows a subscriber, nothing
// but cells knows how a hive is put together. So each can be used without what
// comes after it.
//
// # What holds everywhere
//
//   - Objects are shared and must not be modified. Use DeepCopy.
//   - Nothing is requested before somebody asks, and one informer serves all.
//   - What may block takes a context. What is stopped leaves no goroutine behind.
//   - Failures are retried with backoff and never silent: an informer.Observer is
//     told each of them as a typed value, and errors name their cause.
//   - A slow consumer costs memory by the number of keys, not of changes, and holds
//     up nobody else.
//
// # Logs, metrics, health
//
// The library logs next to nothing. What a Reflector does it tells its Observer;
// what a resource is like, Stats says. Package cells makes logs, Prometheus metrics
// and hive health of these; who has other plans makes something else.
package apiary
