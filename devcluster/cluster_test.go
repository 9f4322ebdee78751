// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/devcluster"
)

func TestAdministratorAndVersion(t *testing.T) {
	c := sharedCluster(t)
	if got := c.Version(); !strings.HasPrefix(got, "v1.") {
		t.Errorf("Version() = %q", got)
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != c.URL() || config.BearerToken != c.Token() || string(config.CAData) != string(c.CAData()) {
		t.Error("the kubeconfig does not agree with URL, Token and CAData")
	}
	list, err := client(t, config).Resource(namespaces).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, item := range list.Items {
		names[item.GetName()] = true
	}
	if !names["default"] || !names["kube-system"] {
		t.Errorf("namespaces: %v", names)
	}
	if got := serverVersion(t, c); got != c.Version() {
		t.Errorf("/version says %q, Version() %q", got, c.Version())
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	// Two at once, each a process of its own.
	a, b := start(t, devcluster.Config{}), start(t, devcluster.Config{})
	if a.PID() == b.PID() || a.URL() == b.URL() {
		t.Fatalf("the clusters share process %d or address %s", a.PID(), a.URL())
	}
	newObject(t, client(t, a.Config()), configMaps, "ConfigMap", "only-in-a")
	if _, err := client(t, b.Config()).Resource(configMaps).Namespace("default").Get(t.Context(), "only-in-a", metav1.GetOptions{}); err == nil {
		t.Error("an object of one cluster is in the other")
	}

	checkMode(t, a.Kubeconfig(), 0o600)
	checkMode(t, filepath.Dir(a.Kubeconfig()), 0o700|fs.ModeDir)

	// Open watches do not hold up the end.
	for range 20 {
		w, err := client(t, a.Config()).Resource(secrets).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Stop()
	}
	began := time.Now()
	if err := a.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	t.Logf("stopped in %s", took.Round(time.Millisecond))
	if took > 3*time.Second {
		t.Errorf("Stop took %s", took)
	}
	select {
	case <-a.Exited():
	default:
		t.Error("Exited() is open after Stop")
	}
	if err := a.Err(); err != nil {
		t.Errorf("Err() after Stop: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(a.Kubeconfig())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the temporary directory is still there: %v", err)
	}
	if err := a.Stop(context.Background()); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if err := a.Restart(t.Context()); !errors.Is(err, devcluster.ErrStopped) {
		t.Errorf("Restart after Stop: %v", err)
	}
	if _, err := a.Compact(t.Context()); !errors.Is(err, devcluster.ErrStopped) {
		t.Errorf("Compact after Stop: %v", err)
	}
}

func TestKillHaltRestart(t *testing.T) {
	t.Parallel()
	c := start(t, devcluster.Config{})
	d := client(t, c.Config())
	old := newObject(t, d, configMaps, "ConfigMap", "survivor")
	user, err := c.AddUser(t.Context(), "reader", readConfigMaps)
	if err != nil {
		t.Fatal(err)
	}
	url, token, pid := c.URL(), c.Token(), c.PID()

	get := func(when string) {
		t.Helper()
		if c.URL() != url || c.Token() != token {
			t.Errorf("after %s the address or the token is another", when)
		}
		for _, who := range []struct {
			name   string
			client getter
		}{{"administrator", d.Resource(configMaps).Namespace("default")}, {"user", client(t, user.Config()).Resource(configMaps).Namespace("default")}} {
			if _, err := who.client.Get(t.Context(), "survivor", metav1.GetOptions{}); err != nil {
				t.Errorf("after %s, as %s: %v", when, who.name, err)
			}
		}
		checkMode(t, c.Kubeconfig(), 0o600)
	}

	began := time.Now()
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed in %s", time.Since(began).Round(time.Millisecond))
	if err := c.Err(); err != nil {
		t.Errorf("Err() after Kill: %v", err)
	}
	if _, err := c.Compact(t.Context()); !errors.Is(err, devcluster.ErrNotRunning) {
		t.Errorf("Compact after Kill: %v", err)
	}

	// Its port taken meanwhile: a clear error, and nothing lost.
	taken, err := net.Listen("tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	err = c.Restart(t.Context())
	if err == nil || !strings.Contains(err.Error(), "stop the process that uses it") {
		t.Errorf("Restart with the port taken: %v", err)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}

	began = time.Now()
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("restarted in %s", time.Since(began).Round(time.Millisecond))
	if c.PID() == pid {
		t.Error("the process is the same after a restart")
	}
	get("kill and restart")
	// The second recipe for expired versions.
	expectExpiredWatch(t, d, configMaps, old)

	// Death from outside.
	exited := c.Exited()
	if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
	case <-time.After(10 * time.Second):
		t.Fatal("Exited() is not closed after the server's death")
	}
	var exit *devcluster.ExitError
	if err := c.Err(); !errors.As(err, &exit) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err() after a death: %v", err)
	} else if len(exit.Log) == 0 {
		t.Error("the error has no log")
	}
	if _, err := c.Compact(t.Context()); !errors.Is(err, devcluster.ErrNotRunning) || !errors.As(err, &exit) {
		t.Errorf("Compact after a death: %v", err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	get("death and restart")

	if err := c.Halt(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Halt(t.Context()); err != nil {
		t.Errorf("second Halt: %v", err)
	}
	if err := c.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	get("halt and restart")
}

func TestParentKilled(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), parentEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill()
		t.Fatal(errors.Join(err, cmd.Wait()))
	}
	var pid int
	var kubeconfig string
	if _, err := fmt.Sscan(line, &pid, &kubeconfig); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the server does not run: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "the temporary directory is gone", func() bool {
		_, err := os.Stat(filepath.Dir(kubeconfig))
		return errors.Is(err, fs.ErrNotExist)
	})
	eventually(t, "the server has ended", func() bool { return !alive(pid) })
}

func TestDirIsKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cluster")
	a := start(t, devcluster.Config{Dir: dir})
	url, token := a.URL(), a.Token()
	newObject(t, client(t, a.Config()), configMaps, "ConfigMap", "kept")

	_, err := devcluster.Start(t.Context(), devcluster.Config{Dir: dir})
	var exit *devcluster.ExitError
	if !errors.As(err, &exit) || !strings.Contains(err.Error(), "in use by another devcluster") {
		t.Errorf("a second cluster on the same directory: %v", err)
	}
	if err := a.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	b := start(t, devcluster.Config{Dir: dir})
	if b.URL() != url || b.Token() != token {
		t.Errorf("started again, the cluster is at %s, before at %s", b.URL(), url)
	}
	if _, err := client(t, b.Config()).Resource(configMaps).Namespace("default").Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	checkMode(t, dir, 0o700|fs.ModeDir)
}

func checkMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Error(err)
	} else if info.Mode() != want {
		t.Errorf("mode of %s is %s, want %s", path, info.Mode(), want)
	}
}
