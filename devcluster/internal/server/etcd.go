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

// maxSocketPath is how long the path of a Unix socket may be on every system.
const maxSocketPath = 103

// onFatal is called after a fatal log line, instead of os.Exit or a panic.
type onFatal func()

// OnWrite calls the function.
func (f onFatal) OnWrite(*zapcore.CheckedEntry, []zapcore.Field) { f() }

// startEtcd starts a single member on dir. It listens on a Unix socket in a
// private directory and nowhere else: etcd asks nobody who they are, so a port
// would let every user of the machine past the API server's access rules. A panic
// of etcd, as on damaged data, becomes an error or a call of die.
func startEtcd(ctx context.Context, dir, socket string, log io.Writer, level zapcore.LevelEnabler, die func()) (_ *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcd panicked on %s: %v\n%s", dir, p, debug.Stack())
		}
	}()
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("the path of etcd's socket, %s, is longer than %d bytes, which is all that systems take; choose a shorter temporary directory with $TMPDIR", socket, maxSocketPath)
	}
	if err := private.Dir(dir); err != nil {
		return nil, fmt.Errorf("use the directory of etcd: %w", err)
	}
	// A server that ended before left its socket, on which nobody can listen.
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
	// Advertised addresses keep their defaults: they must be of the form
	// host:port, and nobody looks a single member up.
	c.ListenPeerUrls = nil // one member has nobody to listen to
	c.UnsafeNoFsync = true // data outlives a killed process, not a lost machine
	// A lone member waits one election timeout before it leads itself.
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
		err = errors.New("it stopped by itself")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.Close()
	return nil, fmt.Errorf("start etcd on %s: %w", dir, err)
}
