// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package push sends a collection to a [BatchConsumer] as snapshots and merged batches; it
// is for programs that feed a remote service.
//
//	b, err := push.NewBatcher("cluster-1/pods", push.BatcherConfig[*corev1.Pod]{
//		ListerWatcher: listWatch, Consumer: consumer})
//	err = b.Run(ctx) // until ctx ends
//
// Each pass of the reflector is a snapshot. Changes between passes are merged by key and
// sent in batches. A refused batch comes again, merged with newer changes. A [RefusedError]
// refuses single objects, and others do not wait for them. If the consumer keeps failing, or
// returns [store.ErrResync], it gets a new snapshot. An [EventMerger] merges changes from
// anywhere. [WholeSnapshots] and [ListWatchHelper] collect each snapshot in one list. A
// consumer owns its objects and can modify them.
package push
