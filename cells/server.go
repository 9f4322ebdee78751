// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/cilium/hive/cell"
)

// httpServer is a hook that serves a handler between Start and Stop.
type httpServer struct {
	what, flag       string // for texts
	network, address string
	handler          http.Handler

	// listening, if it is not nil, is called with the address before the first request.
	listening func(net.Addr)

	mu       sync.Mutex
	listener net.Listener
	server   *http.Server
	ended    chan struct{}
}

// HookInfo shows in hive's log of its hooks.
func (s *httpServer) HookInfo() string { return s.what + " on " + s.address }

// Addr returns the address of the server, or nil if s is nil or was not started.
func (s *httpServer) Addr() net.Addr {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Start implements cell.HookInterface.
func (s *httpServer) Start(ctx cell.HookContext) error {
	if s.network == "unix" {
		removeStale(ctx, s.address)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, s.network, s.address)
	if err != nil {
		return fmt.Errorf("--%s: cannot serve the %s: %w", s.flag, s.what, err)
	}
	if s.listening != nil {
		s.listening(listener.Addr())
	}
	s.server = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	s.ended = make(chan struct{})
	s.mu.Lock()
	s.listener = listener
	s.mu.Unlock()
	go func() { // Stop waits for it
		defer close(s.ended)
		_ = s.server.Serve(listener) // ends with ErrServerClosed
	}()
	return nil
}

// removeStale removes a socket that a process left when it was killed.
func removeStale(ctx context.Context, path string) {
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() != os.ModeSocket {
		return
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // it is in use, and Listen fails
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		_ = os.Remove(path) // Listen fails if it is still there
	}
}

// Stop implements cell.HookInterface.
func (s *httpServer) Stop(ctx cell.HookContext) error {
	// A request that is running can end within a second.
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := s.server.Shutdown(soon)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.server.Close()
	}
	<-s.ended
	return err
}
