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

// demoCell runs the demo workload if there is a demo.
//
// It does not use the client of the hive, which can be that of a real cluster. Its own
// client comes from the demo's server, so it cannot write anywhere else.
var demoCell = cell.Module(
	"demo", "A small workload on an API server of its own",

	cell.Invoke(registerDemo),
)

// stopServerWithin bounds the stop of the server, which takes about a second.
const stopServerWithin = 2500 * time.Millisecond

// demoServer is the API server of the demo. It starts before the hive, since the client
// needs its kubeconfig. It does not start if a cluster is configured, or for commands
// that only inspect.
type demoServer struct {
	cluster *devcluster.Cluster
}

func (d *demoServer) running() bool { return d.cluster != nil }

// start starts the server as a child process, and writes to notes what it does.
func (d *demoServer) start(ctx context.Context, notes io.Writer) error {
	say(notes, "No cluster is configured. Starting a demonstration with its own API server (devcluster) ...")
	begin := time.Now()
	cluster, err := devcluster.Start(ctx, devcluster.Config{Binary: besideExecutable()})
	switch {
	case errors.Is(err, devcluster.ErrNoBinary):
		// The whole error is for authors of tests.
		return fmt.Errorf("start an API server for the demonstration: %w\n\n"+
			"Type \"make run\" in the repository to build it and this program; or set %s\n"+
			"to its path; or name a cluster: --k8s-kubeconfig FILE", devcluster.ErrNoBinary, devcluster.BinaryEnv)
	case err != nil:
		return fmt.Errorf("start an API server for the demonstration: %w", err)
	}
	d.cluster = cluster
	say(notes, "Ready after %.1f s: Kubernetes %s at %s", time.Since(begin).Seconds(), cluster.Version(), cluster.URL())
	say(notes, "Look around with: kubectl --kubeconfig %s get pods -A", cluster.Kubeconfig())
	say(notes, "Ctrl-C ends both.")
	return nil
}

// stop ends the child process and waits for its end.
func (d *demoServer) stop(notes io.Writer) error {
	say(notes, "Stopping the API server ...")
	ctx, cancel := context.WithTimeout(context.Background(), stopServerWithin)
	defer cancel()
	if err := d.cluster.Stop(ctx); err != nil {
		return fmt.Errorf("stop the API server of the demonstration: %w", err)
	}
	return nil
}

// say writes a note for the user. It ignores an error of the write.
func say(notes io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(notes, format+"\n", args...)
}

// besideExecutable returns the path of the devcluster command if it is in the directory
// of this program, where "make build" puts both, unless the environment names another.
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

// registerDemo runs the workload between start and stop of the hive. It ends the
// application if the server ends by itself.
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
						fmt.Errorf("the API server of the demonstration has ended: %w", demo.cluster.Err())))
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
