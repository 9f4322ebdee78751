// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/apiary-go/apiary/devcluster"
)

func TestStopBreaksARestartOff(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer // no lock: nothing may write to it after Stop
	c := start(t, devcluster.Config{Log: &log})
	first := c.Exited()
	restarted := make(chan error, 1)
	go func() { restarted <- c.Restart(context.Background()) }()
	<-first // the restart is under way
	var stops sync.WaitGroup
	for range 3 {
		stops.Go(func() {
			if err := c.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	stops.Wait()
	if err := <-restarted; !errors.Is(err, devcluster.ErrStopped) {
		t.Errorf("Restart: %v, want ErrStopped", err)
	}
	for name, err := range map[string]error{"Halt": c.Halt(t.Context()), "InstallCRDs": c.InstallCRDs(t.Context())} {
		if !errors.Is(err, devcluster.ErrStopped) {
			t.Errorf("%s after Stop: %v, want ErrStopped", name, err)
		}
	}
	if err := c.Kill(); err != nil {
		t.Errorf("Kill after Stop: %v", err)
	}
	if _, err := c.AddUser(t.Context(), "late"); !errors.Is(err, devcluster.ErrStopped) {
		t.Errorf("AddUser after Stop: %v, want ErrStopped", err)
	}
	if !strings.Contains(log.String(), "kube-apiserver") && !strings.Contains(log.String(), "apiserver") {
		t.Errorf("log: %q", log.String())
	}
}

func TestStopWithoutTimeKills(t *testing.T) {
	t.Parallel()
	c, err := devcluster.Start(t.Context(), devcluster.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = c.Stop(ended)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("Stop with a context that has ended: %v", err)
	}
	select {
	case <-c.Exited():
	default:
		t.Error("the server still runs")
	}
}

func TestRestartAfterAnEndFromOutside(t *testing.T) {
	t.Parallel()
	c := start(t, devcluster.Config{})
	exited := c.Exited()
	if err := syscall.Kill(c.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-exited
	// A cluster of other certificates is not the same cluster.
	if err := c.Restart(t.Context()); err == nil || !strings.Contains(err.Error(), "ended from outside") {
		t.Errorf("Restart: %v", err)
	}
}
