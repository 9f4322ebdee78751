// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package server runs etcd and kube-apiserver in this process.
//
// It is the heavy half of devcluster: it links the whole API server. Feature
// gates, metrics and logging of Kubernetes are global to a process, so a
// process starts at most one server. Under the race detector the package
// is an empty shell that refuses to start, so that testing this module with
// -race does not compile Kubernetes a second time.
package server

import "io"

// Options says what to start.
type Options struct {
	// DataDir holds etcd's data, the certificates, the token and the port. It
	// is made if it is missing. One of another owner, or one that others can write
	// to, is refused.
	DataDir string
	// SocketDir is an existing directory, with a short path, for etcd's socket.
	SocketDir string
	// Port of the API server; 0 takes the one that the data directory had
	// before, or a free one.
	Port int
	// Flags are further flags of kube-apiserver.
	Flags []string
	// Log gets the log lines of etcd (errors) and kube-apiserver.
	Log io.Writer
	// Fatal is called when etcd or kube-apiserver had a fatal error, after which
	// the process must end. It may be called more than once.
	Fatal func()
}
