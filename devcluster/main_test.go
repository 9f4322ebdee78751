// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/devcluster"
)

// parentEnv turns the test binary into a program that starts a cluster and
// waits to be killed.
const parentEnv = "DEVCLUSTER_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) != "" {
		os.Exit(parent())
	}
	os.Exit(testMain(m))
}

// hearHangUp has the commands that the tests start hear SIGHUP, also if the tests
// themselves were started with nohup, which passes on.
func hearHangUp() {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
}

func testMain(m *testing.M) int {
	hearHangUp()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	// One build, before the clocks of the tests run.
	binary, err := devcluster.Binary(ctx, devcluster.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// All temporary files are made here, so that leftovers are found.
	temp, err := os.MkdirTemp("", "dct-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	err = errors.Join(os.Setenv(devcluster.BinaryEnv, binary), os.Setenv("TMPDIR", temp))
	code := 1
	if err == nil {
		code = m.Run()
		err = errors.Join(stopShared(), leftovers(temp), goleak.Find())
	}
	if err = errors.Join(err, os.RemoveAll(temp)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func leftovers(temp string) error {
	left, err := filepath.Glob(filepath.Join(temp, "devcluster-*"))
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %v", left)
	}
	return err
}

// parent is a program whose cluster is never stopped.
func parent() int {
	c, err := devcluster.Start(context.Background(), devcluster.Config{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("%d %s\n", c.PID(), c.Kubeconfig())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

var shared struct {
	once    sync.Once
	cluster *devcluster.Cluster
	err     error
}

// sharedCluster returns a cluster that the tests share: none may stop it. It
// has no watch cache for config maps.
func sharedCluster(t *testing.T) *devcluster.Cluster {
	t.Helper()
	shared.once.Do(func() {
		began := time.Now()
		shared.cluster, shared.err = devcluster.Start(context.Background(), devcluster.Config{
			Flags: []string{"--watch-cache-sizes=configmaps#0", "--feature-gates=WatchList=false"},
		})
		t.Logf("shared cluster started in %s", time.Since(began).Round(time.Millisecond))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

func stopShared() error {
	if shared.cluster == nil {
		return nil
	}
	return shared.cluster.Stop(context.Background())
}

// start starts a cluster that is stopped when the test ends.
func start(t *testing.T, config devcluster.Config) *devcluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := devcluster.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("started in %s", time.Since(began).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := c.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

var (
	namespaces = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

func client(t *testing.T, config *rest.Config) dynamic.Interface {
	t.Helper()
	d, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newObject creates an object and returns its resource version.
func newObject(t *testing.T, d dynamic.Interface, gvr schema.GroupVersionResource, kind, name string) string {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": gvr.GroupVersion().String(),
		"kind":       kind,
		"metadata":   map[string]any{"name": name, "namespace": "default"},
	}}
	made, err := d.Resource(gvr).Namespace("default").Create(t.Context(), object, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.GetResourceVersion()
}

// eventually polls until the condition holds; it fails the test after 30 s.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("after 30 s still not: %s", what)
		}
	}
}
