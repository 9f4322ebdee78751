// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fluxcd connects package status with github.com/fluxcd/cli-utils and the
// client of controller-runtime. Programs that use the polling engine, the status
// readers or the watcher of cli-utils can keep their code. It is a module of its own,
// so that other programs do not depend on cli-utils.
//
//	poller := &engine.PollerEngine{ // of cli-utils
//		Mapper:               mapper,
//		StatusReaders:        readers,
//		DefaultStatusReader:  fallback,
//		ClusterReaderFactory: fluxcd.NewClusterReaderFactory(ctx, statusEngine),
//	}
//	events := poller.Poll(ctx, ids, engine.Options{PollInterval: time.Second})
//
// There are three ways, from the smallest change to the largest:
//
//   - [NewClusterReaderFactory] keeps their engine and their readers. They read from
//     the shared watches of a status.Engine and do not poll the API server.
//   - [StatusReader] and [Reader] run their readers in a status.PollerEngine, which a
//     slow or failing object does not stop.
//   - [NewStatusWatcher] returns a StatusWatcher of cli-utils that reports the statuses
//     of a status.Engine. Collectors and aggregators need no change.
package fluxcd
