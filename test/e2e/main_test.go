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

// Clusters that several tests use, each a namespace of its own: shared is for those
// that leave the server alone, cacheless for those that compact etcd, which makes
// versions expire if the server has no watch cache.
var (
	shared    sharedServer
	cacheless = sharedServer{flags: []string{"--watch-cache=false"}}
)

type sharedServer struct {
	flags   []string
	once    sync.Once
	cluster *devcluster.Cluster
	err     error
}

// get returns the cluster, which the first call starts.
func (s *sharedServer) get(t *testing.T) *devcluster.Cluster {
	t.Helper()
	s.once.Do(func() {
		s.cluster, s.err = devcluster.Start(context.Background(), devcluster.Config{Flags: s.flags})
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

func TestMain(m *testing.M) {
	if err := findServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, s := range []*sharedServer{&shared, &cacheless} {
		if s.cluster == nil {
			continue
		}
		if err := s.cluster.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "stopping a shared cluster:", err)
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
	return shared.get(t)
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
