// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/apiary-go/apiary/devcluster"
)

// shared is the cluster of the tests that leave the server alone. Each uses a
// namespace of its own.
var shared struct {
	once    sync.Once
	cluster *devcluster.Cluster
	err     error
}

func TestMain(m *testing.M) {
	if err := findServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the shared cluster:", err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// findServer builds the server from the sources beside these tests, unless the
// environment says where it is, as make does. It is a plain build, whatever the
// tests are built with; the first one takes some minutes.
func findServer() error {
	if os.Getenv(devcluster.BinaryEnv) != "" {
		return nil
	}
	binary, err := filepath.Abs("../../bin/devcluster")
	if err != nil {
		return err
	}
	build := exec.Command("go", "build", "-C", "../../devcluster", "-ldflags", "-s -w", "-o", binary, "./cmd/devcluster")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the server: %w\n%s", err, out)
	}
	return os.Setenv(devcluster.BinaryEnv, binary)
}

func sharedCluster(t *testing.T) *devcluster.Cluster {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = devcluster.Start(context.Background(), devcluster.Config{})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// ownCluster starts a cluster for one test.
func ownCluster(t *testing.T, flags ...string) *devcluster.Cluster {
	t.Helper()
	cluster, err := devcluster.Start(t.Context(), devcluster.Config{Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return cluster
}

// patience is how long a test waits for something that should happen.
const patience = time.Minute
