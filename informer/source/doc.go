// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package source makes an [informer.Source] of a client; each user of an
// [informer.Reflector] needs one.
//
//	lw := source.NewListWatchFromClient(client, "pods", "")
//	src := source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithFields("metadata.labels"))
//
// [FromListerWatcher] accepts every cache.ListerWatcher. It reads the responses of
// [NewListWatchFromClient], of a [DynamicListerWatcherFactory] and of any other [Streamer]
// as streams: it decodes one object at a time, and skips objects that the sink holds. A
// streamed list is never in memory as a whole. Equal parts of streamed objects are
// interned, see [WithoutSharing]. Objects in a sink with many readers must not be modified.
// With KUBE_CACHE_MUTATION_DETECTOR=true a modification ends the process and prints the
// difference. This covers each [store.Store] and each sink that implements [store.Sharing],
// see [store.DetectMutations].
package source
