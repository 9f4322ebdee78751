// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package fluxcd joins package status with the polling engine, the status readers and
// the watcher of github.com/fluxcd/cli-utils and with the client of
// controller-runtime. It is a module of its own, so that nobody else depends on these.
//
// Who has a PollerEngine of cli-utils, and readers for it, can go three ways, in the
// order of what there is to change and to win:
//
//   - [NewClusterReaderFactory]: their engine, their readers, and no polling of the
//     API server: what they read is watched, and shared by all of them.
//   - [StatusReader] and [Reader]: their readers in a status.PollerEngine, which one
//     slow or failing object does not stop.
//   - [NewStatusWatcher]: a StatusWatcher of cli-utils, with its events, of what a
//     status.Engine tells; collectors and aggregators stay.
package fluxcd
