// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package source makes an [informer.Source] from a client. Each user of an
// [informer.Reflector] needs a source.
//
//	lw := source.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "pods", "",
//		source.WithLabelSelector("app=shop"))
//	src := source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithFields("metadata.labels"))
//	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{
//		Name: "pods", Source: src, Sink: sink})
//	if err != nil {
//		return err
//	}
//	return reflector.Run(ctx) // blocks until ctx ends
//
// [FromListerWatcher] accepts every cache.ListerWatcher. It reads the responses of
// [NewListWatchFromClient], of a [DynamicListerWatcherFactory] and of any other [Streamer]
// as streams: it decodes one object at a time, and skips objects that the sink holds. A
// streamed list is never in memory as a whole.
//
// Equal parts of streamed objects are interned, see [WithoutSharing]. Objects in a sink with
// many readers must not be modified. With KUBE_CACHE_MUTATION_DETECTOR=true a modification
// ends the process and prints the difference. This covers each [store.Store] and each sink
// that implements [store.Sharing], see [store.DetectMutations].
//
// # Limits
//
// The bytes that a server sends cannot exhaust memory. An object beyond a limit cannot be
// decoded, see package informer. The limits are no tighter than those of an API server: its
// requests have at most 3 MiB and 10000 levels, and etcd stores 1.5 MiB by default.
//
//	bytes                64 MiB, see [WithObjectLimit]
//	nesting              10000 arrays and objects in JSON, or messages in protobuf
//	slices and maps      64 times the limit of the bytes, and 4 MiB; 1 GiB at most
//	bytes that are read  the limit of the bytes, or 16 MiB if that is more
//
// The memory of slices and maps includes what is behind pointers in JSON. It is estimated for
// types that decode themselves from JSON, and unknown for types that decode themselves from
// protobuf. The worst objects that an API server stores are slices of empty elements: 1.5 MiB
// of them take 200 MiB as containers of a pod, and 1 GiB if an element takes 2000 bytes. The
// deepest take 10 MiB. Set a lower [WithObjectLimit] if that is too much.
package source
