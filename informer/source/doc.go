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
//
// # Limits
//
// Bytes of a server do not exhaust memory. The limits for an object are no tighter than those
// of an API server, whose requests have 3 MiB at most and are nested 10000 deep. Of that, etcd
// stores 1.5 MiB by default. An object beyond a limit is one that cannot be decoded: see
// package informer.
//
//	bytes                64 MiB, see [WithObjectLimit]
//	nesting              10000 arrays and objects in JSON, or messages in protobuf
//	slices and maps      64 times the limit of the bytes, and 4 MiB; 1 GiB at most
//	bytes that are read  the limit of the bytes, or 16 MiB if that is more
//
// The memory of slices and maps includes what is behind pointers in JSON. It is estimated for
// types that decode themselves from JSON, and not known for those that do so from protobuf. The
// worst objects that an API server stores are slices of empty elements: 1.5 MiB of them take
// 200 MiB as containers of a pod, and 1 GiB if an element takes 2000 bytes. The deepest take 10
// MiB. Set [WithObjectLimit] where that is too much.
package source
