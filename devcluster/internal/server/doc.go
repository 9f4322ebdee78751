// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package server runs etcd and kube-apiserver in this process.
//
// It links the whole API server. Feature gates, metrics and logging of Kubernetes
// are global to a process, so a process can start at most one server. In a build
// with -race the package is empty and Start returns an error, so that testing this
// module with -race does not compile Kubernetes a second time.
package server

import "io"

// Options configures a server.
type Options struct {
	// DataDir holds etcd's data, the certificates, the token and the port. A missing
	// directory is created. Start fails if it belongs to another user, or if others
	// can write to it.
	DataDir string
	// SocketDir is an existing directory, with a short path, for etcd's socket.
	SocketDir string
	// Port is the port of the API server. Default: the port stored in DataDir, or a
	// free one.
	Port int
	// Flags are additional flags of kube-apiserver.
	Flags []string
	// Log receives the log lines of kube-apiserver, and the errors of etcd.
	Log io.Writer
	// Fatal is called after a fatal error of etcd or kube-apiserver. The process must
	// then end. It can be called more than once.
	Fatal func()
}
