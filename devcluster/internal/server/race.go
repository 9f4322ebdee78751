// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build race

package server

import (
	"context"
	"errors"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// errRace is why nothing starts in a binary built with -race.
var errRace = errors.New("devcluster was built with -race, in which the API server is left out; build it without")

// Server is a running etcd and kube-apiserver.
type Server struct{}

// Start refuses: see the package comment.
func Start(context.Context, Options) (*Server, error) { return nil, errRace }

// Version refuses: see the package comment.
func Version() string { return "unknown (built with -race)" }

// Info is empty.
func (*Server) Info() wire.Ready { return wire.Ready{} }

// Kubeconfig refuses: see the package comment.
func (*Server) Kubeconfig() ([]byte, error) { return nil, errRace }

// Done is nil.
func (*Server) Done() <-chan struct{} { return nil }

// Stop refuses: see the package comment.
func (*Server) Stop(context.Context) error { return errRace }
