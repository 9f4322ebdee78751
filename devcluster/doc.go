// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package devcluster runs a real Kubernetes API server and its etcd, for tests
// and development. The server is built from Go modules; there is nothing to
// download or install.
//
// A [Cluster] is a child process on loopback. It has its own certificates, a
// token for an administrator, RBAC, and data in a temporary directory. It is ready
// a few seconds after [Start]:
//
//	c, err := devcluster.Start(ctx, devcluster.Config{})
//	if err != nil {
//		return err
//	}
//	defer c.Stop(context.Background())
//	client, err := kubernetes.NewForConfig(c.Config())
//	if err != nil {
//		return err
//	}
//	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
//
// # The server
//
// The server is the command github.com/apiary-go/apiary/devcluster/cmd/devcluster:
// unmodified kube-apiserver and etcd in one process. This package links neither,
// so tests that use it can be built with -race. The first [Start] builds the
// command, in the version of this package, which takes minutes. [Binary] documents
// where else Start looks, and how to build the command in advance.
//
// There is no kubelet, scheduler or controller. Objects are validated, stored,
// listed and watched, and nothing acts on them: no pod runs, a Deployment creates
// no pods, nothing is garbage collected, and a deleted namespace stays in the
// phase Terminating.
//
// # Faults
//
// Tests can cause faults and changes:
//
//   - [Cluster.Halt] stops the server gracefully, [Cluster.Kill] kills it, and
//     [Cluster.Restart] starts it again with the same data, address, certificates
//     and users.
//   - [Cluster.Compact] makes old resource versions expire.
//   - [Cluster.AddUser] creates a user with few rights; [User.SetRules] changes them.
//   - [Cluster.InstallCRDs] adds kinds.
//   - Config.Flags turns features of the server on and off.
//
// # Cleanup
//
// [Cluster.Stop] stops the server and removes its temporary files. If the program
// dies without calling Stop, even by SIGKILL, the standard input of the server is
// closed. The server then exits and removes the temporary files, so a test that
// times out or is interrupted leaves nothing behind. There is one exception: if
// the server was killed, by [Cluster.Kill] or from outside, and the program dies
// before it calls Restart or Stop, the temporary directory stays.
//
// If the server exits unexpectedly, the channel of [Cluster.Exited] is closed, and
// [Cluster.Err] returns the reason with the last lines of the log.
//
// # Errors
//
// Errors wrap their cause and say what the user can do about it. If the server
// failed, they end with the last lines of its log ([ExitError]). Methods that need
// a running server return [ErrNotRunning] if there is none, and [ErrStopped] after
// Stop.
//
// # Safety
//
// The API server listens on 127.0.0.1 only, and etcd on a Unix socket that only
// the current user can open. Files and directories are private to this user,
// whatever the umask, and are written without following symbolic links. devcluster
// removes only files that it made. Data are written without fsync: they survive a
// killed server, but not a power failure. Do not use it in production.
package devcluster
