// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !race

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// Server is a running etcd and kube-apiserver.
type Server struct {
	info  wire.Ready
	creds *credentials
	etcd  *embed.Etcd
	level zap.AtomicLevel // of etcd's log
	lock  io.Closer

	cancel context.CancelFunc // ends kube-apiserver
	done   chan struct{}      // closed when kube-apiserver has ended
	err    error              // why it ended; written before done is closed

	stop    sync.Once
	stopErr error
}

// Start starts etcd and kube-apiserver, and returns when the API server is ready and
// the namespace "default" exists. If ctx ends before that, Start returns at once.
// After an error the process must end: etcd and kube-apiserver may still run. They
// make no more files. They cannot be stopped separately: a kube-apiserver that is
// cancelled during its start has a fatal error, and etcd must not end before it.
func Start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.DataDir, err = filepath.Abs(o.DataDir); err != nil {
		return nil, fmt.Errorf("resolve the path of the data directory: %w", err)
	}
	if err := private.Dir(o.DataDir); err != nil {
		return nil, fmt.Errorf("open the data directory: %w", err)
	}
	s := &Server{done: make(chan struct{}), level: zap.NewAtomicLevelAt(zap.ErrorLevel)}
	if s.lock, err = private.Lock(filepath.Join(o.DataDir, wire.LockFile)); err != nil {
		return nil, err
	}
	if s.creds, err = loadCredentials(o.DataDir); err != nil {
		return nil, err
	}
	listener, port, err := listen(o.DataDir, o.Port)
	if err != nil {
		return nil, err
	}
	s.info = wire.Ready{
		Protocol:   wire.Protocol,
		PID:        os.Getpid(),
		Server:     fmt.Sprintf("https://127.0.0.1:%d", port),
		Version:    Version(),
		DataDir:    o.DataDir,
		EtcdSocket: filepath.Join(o.SocketDir, wire.EtcdSocket),
	}
	die := func() {
		o.Fatal()
		select {}
	}
	routeLogs(o.Log, die)
	// Flags are checked before etcd starts.
	options, err := apiServerOptions(ctx, o.Flags, s.info.EtcdSocket, listener, port, s.creds)
	if err != nil {
		return nil, err
	}
	if s.etcd, err = startEtcd(ctx, filepath.Join(o.DataDir, wire.EtcdDir), s.info.EtcdSocket, o.Log, s.level, die); err != nil {
		return nil, err
	}
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.err = runAPIServer(runCtx, options)
	}()
	if err := s.waitReady(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Info returns the addresses and the data directory of the server.
func (s *Server) Info() wire.Ready { return s.info }

// Kubeconfig returns the administrator's kubeconfig.
func (s *Server) Kubeconfig() ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters["devcluster"] = &clientcmdapi.Cluster{
		Server:                   s.info.Server,
		CertificateAuthorityData: s.creds.ca.CertPEM,
	}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Token: s.creds.token}
	config.Contexts["devcluster"] = &clientcmdapi.Context{Cluster: "devcluster", AuthInfo: "admin", Namespace: "default"}
	config.CurrentContext = "devcluster"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encode the kubeconfig: %w", err)
	}
	return data, nil
}

// Done returns a channel that is closed when kube-apiserver has ended, for any
// reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop ends kube-apiserver gracefully, and then etcd. It returns when both have
// ended. If ctx ends before, Stop returns an error, and the process must end. If
// kube-apiserver ended by itself, Stop returns its error. Further calls return the
// result of the first.
func (s *Server) Stop(ctx context.Context) error {
	s.stop.Do(func() { s.stopErr = s.shutDown(ctx) })
	return s.stopErr
}

func (s *Server) shutDown(ctx context.Context) error {
	s.cancel()
	select {
	case <-s.done:
	case <-ctx.Done():
		return fmt.Errorf("kube-apiserver has not ended in time: %w", context.Cause(ctx))
	}
	s.level.SetLevel(zap.FatalLevel) // it logs the end of its listeners as errors
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.etcd.Close()
	}()
	select {
	case <-closed:
	case <-ctx.Done():
		return fmt.Errorf("etcd has not ended in time: %w", context.Cause(ctx))
	}
	return errors.Join(s.err, s.lock.Close())
}
