// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/devcluster"
)

// demoCell keeps the demo workload moving, if there is a demo.
//
// It does not use the client of the hive, which may be that of a cluster in use: its
// own is made of what the demo's server gave, so there is nothing else that it
// could write to.
var demoCell = cell.Module(
	"demo", "A small workload on an API server of its own",

	cell.Invoke(registerDemo),
)

// stopServerWithin bounds the end of the server. It takes about a second.
const stopServerWithin = 2500 * time.Millisecond

// demoServer is the API server of the demo. It is started before the hive is, since
// the client is constructed from its kubeconfig, and not at all if there is a
// cluster to look at, or for commands that only inspect.
type demoServer struct {
	cluster *devcluster.Cluster
}

func (d *demoServer) running() bool { return d.cluster != nil }

// start runs the server as a child process, and tells on notes what it does.
func (d *demoServer) start(ctx context.Context, notes io.Writer) error {
	say(notes, "No cluster is configured, so this is a demonstration: starting an API server of its own (devcluster) ...")
	begin := time.Now()
	cluster, err := devcluster.Start(ctx, devcluster.Config{Binary: besideExecutable()})
	switch {
	case errors.Is(err, devcluster.ErrNoBinary):
		// Its text is for those who write tests with the package.
		return fmt.Errorf("start an API server for the demonstration: %w\n\n"+
			"Type \"make run\" in the repository, which builds it and this program; or set %s\n"+
			"to its path; or give a cluster to look at: --k8s-kubeconfig FILE", devcluster.ErrNoBinary, devcluster.BinaryEnv)
	case err != nil:
		return fmt.Errorf("start an API server for the demonstration: %w", err)
	}
	d.cluster = cluster
	say(notes, "Ready after %.1f s: Kubernetes %s at %s", time.Since(begin).Seconds(), cluster.Version(), cluster.URL())
	say(notes, "Look around with: kubectl --kubeconfig %s get pods -A", cluster.Kubeconfig())
	say(notes, "Ctrl-C ends both.")
	return nil
}

// stop ends the child process, and returns when it has ended.
func (d *demoServer) stop(notes io.Writer) error {
	say(notes, "Stopping the API server ...")
	ctx, cancel := context.WithTimeout(context.Background(), stopServerWithin)
	defer cancel()
	if err := d.cluster.Stop(ctx); err != nil {
		return fmt.Errorf("stop the API server of the demonstration: %w", err)
	}
	return nil
}

// say writes a note for the person at the terminal. There is nobody to tell if it
// cannot be written.
func say(notes io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(notes, format+"\n", args...)
}

// besideExecutable returns the path of the devcluster command if it lies beside
// this one, as "make build" leaves them, and the environment does not name another.
func besideExecutable() string {
	self, err := os.Executable()
	if err != nil || os.Getenv(devcluster.BinaryEnv) != "" {
		return ""
	}
	path := filepath.Join(filepath.Dir(self), "devcluster")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return ""
	}
	return path
}

// registerDemo runs the workload from the start of the hive to its stop, and ends
// the application if the server ends by itself.
func registerDemo(lc cell.Lifecycle, demo *demoServer, shutdowner hive.Shutdowner, log *slog.Logger) error {
	if !demo.running() {
		return nil
	}
	client, err := kubernetes.NewForConfig(demo.cluster.Config())
	if err != nil {
		return fmt.Errorf("make a client for the demonstration: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	lc.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			wg.Go(func() { newWorkload(client, log).run(ctx, time.Second) })
			wg.Go(func() {
				select {
				case <-ctx.Done():
				case <-demo.cluster.Exited():
					shutdowner.Shutdown(hive.ShutdownWithError(
						fmt.Errorf("the API server of the demonstration is gone: %w", demo.cluster.Err())))
				}
			})
			return nil
		},
		OnStop: func(cell.HookContext) error {
			cancel()
			wg.Wait()
			return nil
		},
	})
	return nil
}
