// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !race

package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"runtime/debug"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/apiary-go/apiary/devcluster/internal/private"
)

// maxSocketPath is the length of a Unix socket's path that all systems accept.
const maxSocketPath = 103

// onFatal is called after a fatal log line, instead of os.Exit or a panic.
type onFatal func()

// OnWrite calls the function.
func (f onFatal) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) { f() }

// startEtcd starts a single member on dir. It listens only on a Unix socket in a
// private directory: etcd does not authenticate clients, so a port would give every
// user of the machine access without the API server's rules. A panic of etcd, for
// example on damaged data, becomes an error or a call of die.
func startEtcd(ctx context.Context, dir, socket string, log io.Writer, level zapcore.LevelEnabler, die func()) (_ *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcd panicked on %s: %v\n%s", dir, p, debug.Stack())
		}
	}()
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("the path of etcd's socket, %s, is longer than the limit of %d bytes; choose a shorter temporary directory with $TMPDIR", socket, maxSocketPath)
	}
	if err := private.Dir(dir); err != nil {
		return nil, fmt.Errorf("open the directory of etcd: %w", err)
	}
	// The socket of an earlier server prevents a new one from listening.
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove the old socket of etcd: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	logger := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(encoding), zapcore.AddSync(log), level),
		zap.WithFatalHook(onFatal(die)), zap.WithPanicHook(onFatal(die)))

	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	// Advertised addresses keep their defaults: they must have the form host:port, and
	// a single member needs none.
	c.ListenPeerUrls = nil // a single member has no peers
	c.UnsafeNoFsync = true // data survive a killed process, not a power failure
	// A single member waits one election timeout before it becomes leader.
	c.TickMs, c.ElectionMs = 10, 100
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	c.QuotaBackendBytes = 8 << 30
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, nil
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("it stopped unexpectedly")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.Close()
	return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
}
