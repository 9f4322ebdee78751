// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build race

package server

import (
	"context"
	"errors"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// errRace is the error of all methods in a binary built with -race.
var errRace = errors.New("devcluster was built with -race, which leaves out the API server; build it without -race")

// Server is a running etcd and kube-apiserver.
type Server struct{}

// Start returns an error: see the package comment.
func Start(context.Context, Options) (*Server, error) { return nil, errRace }

// Version returns "unknown": see the package comment.
func Version() string { return "unknown (built with -race)" }

// Info is empty.
func (*Server) Info() wire.Ready { return wire.Ready{} }

// Kubeconfig returns an error: see the package comment.
func (*Server) Kubeconfig() ([]byte, error) { return nil, errRace }

// Done is nil.
func (*Server) Done() <-chan struct{} { return nil }

// Stop returns an error: see the package comment.
func (*Server) Stop(context.Context) error { return errRace }
