// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package devcluster runs a real Kubernetes API server, with its etcd, for tests
// and development: built from Go modules, with nothing to download or install.
//
// A [Cluster] is a child process on loopback, with certificates and an
// administrator's token of its own, RBAC on, and data in a temporary directory.
// It is ready some seconds after [Start]:
//
//	c, err := devcluster.Start(ctx, devcluster.Config{})
//	if err != nil { ... }
//	defer c.Stop(context.Background())
//	clients, err := kubernetes.NewForConfig(c.Config())
//
// # What it is
//
// The server is the command github.com/apiary-go/apiary/devcluster/cmd/devcluster:
// kube-apiserver and etcd, unchanged, in one process. This package itself is
// small, links neither, and is at home in a test built with -race. [Start] builds
// the command the first time, in the version of this package, which takes minutes;
// [Binary] tells where else it may come from, and how to build it beforehand.
//
// There is no kubelet, no scheduler and no controller: objects are validated,
// stored, listed and watched, and nothing acts on them. No pod runs, no
// Deployment makes pods, nothing is garbage collected, and a namespace that is
// deleted stays in the phase Terminating.
//
// # Trouble on demand
//
// Being a process of its own, the server can be ended and come back:
// [Cluster.Halt] ends it gracefully, [Cluster.Kill] as a crash does, and
// [Cluster.Restart] starts it again with the same data, address, certificates and
// users. [Cluster.Compact] makes old resource versions expire, [Cluster.AddUser]
// makes a user with few rights and [User.SetRules] changes them,
// [Cluster.InstallCRDs] adds kinds, and Config.Flags turns features of the server
// off and on.
//
// # Ends
//
// [Cluster.Stop] ends the server and removes what is temporary. If the program
// dies without it, even by SIGKILL, the server sees its standard input close, ends
// by itself, and removes what is temporary, so nothing is left of a test that
// timed out or was interrupted, however early. The exception is a server that was
// itself killed, by [Cluster.Kill] or from outside, and whose program dies before
// it has called Restart or Stop: its directory stays.
//
// If the server dies unasked, the channel of [Cluster.Exited] is closed and
// [Cluster.Err] tells why, with the last lines of the log.
//
// # Errors
//
// Errors wrap their cause, say what to do where something can be done, and, if
// the server failed, end with the last lines of its log ([ExitError]). Methods
// that need a running server return [ErrNotRunning] when there is none, and
// [ErrStopped] after Stop.
//
// # Safety
//
// The API server listens on 127.0.0.1 only, and etcd on a Unix socket that only
// this user can reach. Files and directories are private to this user, whatever
// the umask, and are written without following symbolic links. Only what
// devcluster made is removed. Data are written without fsync: they outlive a killed
// server, but not a machine that loses power. It is not for production.
package devcluster
