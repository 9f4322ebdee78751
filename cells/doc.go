// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package cells puts Kubernetes resources into a hive (github.com/cilium/hive):
//
//	h := hive.New(
//		cells.Client,
//		cells.Resource[*corev1.Pod](cells.WithLabelSelector("app=web")),
//		cell.Invoke(func(pods resource.Resource[*corev1.Pod]) { … }),
//	)
//
// # Cells
//
//   - [Client]: the Kubernetes clients, all on one transport, by flags, kubeconfig,
//     or the service account of the pod. [FakeClient] takes its place in tests.
//   - [Resource]: a resource.Resource of any kind, in one line. [ResourceAs] is for
//     further ones of the same type, [NewResource] for constructors of your own.
//   - [Status]: a status.Engine, which tells whether objects are ready. [StatusHealth]
//     makes that the health of the program.
//   - [Metrics]: what resources do, for Prometheus. Optional.
//   - [Logger]: logging through logrus, that of client-go included. Optional.
//
// Health is reported to cell.Health where the hive provides it, for instance by
// cell.SimpleHealthCell or by a decorator or private provider for each module.
//
// # Without a cluster
//
// A program whose configuration names no API server still constructs and starts.
// Its clients are there, and refuse each request with [ErrNotConfigured]; its
// resources are disabled. What cannot do without says so:
//
//	cell.Invoke(func(client *cells.ClientState) error { return client.Err() })
//
// # Inspection
//
// No constructor makes a request or starts a goroutine, so the inspection command
// of hive, which runs all constructors and nothing else, leaves nothing behind. It
// shows each resource as a module, with the kind and what it selects.
package cells
