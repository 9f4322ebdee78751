// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package cells provides Kubernetes resources to a hive application
// (github.com/cilium/hive). It is for programs that are built from hive cells; without a
// hive, use package resource.
//
//	h := hive.New(
//		cells.Client,
//		cells.Resource[*corev1.Pod](cells.WithLabelSelector("app=web")),
//		cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) {
//			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
//				store, err := pods.Store(ctx) // waits for the first list
//				…
//			}})
//		}),
//	)
//
// # Cells
//
//   - [Client]: the Kubernetes clients, configured by flags, a kubeconfig, or the service
//     account of the pod. [FakeClient] replaces it in tests.
//   - [NamedClients]: the clients of several clusters. [OfCluster] selects one of them.
//   - [Resource]: a resource.Resource of any kind, in one line. [ResourceAs] adds further
//     resources of the same type. [NewResource] is for constructors of your own.
//   - [NewMirror] and [Push]: a mirror.ResourceVersionInformer, and a push.Batcher.
//   - [Status]: a status.Engine, which reports whether objects are ready. [StatusHealth]
//     reports that as the health of the program.
//   - [Metrics]: Prometheus metrics of resources, mirrors and pushes. Optional.
//   - [StatusServer]: a page that shows what is not in sync, since when and why. Optional.
//   - [ScriptCommands] and [ScriptClientCommands]: commands for txtar tests, and for the
//     shell of a running program. Optional.
//   - [Logger]: logging through logrus, including the logs of client-go. Optional.
//
// Resources report to cell.Health if the hive provides it, for example by
// cell.SimpleHealthCell or by a decorator of each module.
//
// # Without a cluster
//
// A program without a configured API server constructs and starts. Each request of its
// clients fails with [ErrNotConfigured], and its resources are disabled. To fail at
// startup instead:
//
//	cell.Invoke(func(client *cells.ClientState) error { return client.Err() })
//
// # Inspection
//
// Constructors make no request and start no goroutine, so the inspection command of hive
// has no effects. It shows each resource as a module, with its kind and selectors, and the
// hooks of resources, mirrors and pushes by the type of their objects. Hive's log of hooks
// shows their names.
package cells
