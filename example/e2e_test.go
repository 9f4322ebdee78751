// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/internal/clitest"
)

// The demonstration, from its start to --run-for, in a table.
func TestEndToEndRunFor(t *testing.T) {
	p := startExample(t, "--run-for", "6s")
	p.WaitFor("cart-1")
	_, address, found := strings.Cut(p.Output.String(), "The status page is at ")
	if !found {
		t.Fatal("it does not print the address of the status page")
	}
	address, _, _ = strings.Cut(address, "\n")
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || !strings.Contains(string(text), "All in sync: 2") {
		t.Errorf("the status page: %v, %s", err, text)
	}
	p.MustEnd(0, time.Minute)
	p.Expect("Ready after", "demo/web", "web-1", "Running", "cart-1: Pending -> Running", "demo/bank", "Stopping")
	p.expectNothingLeft()
}

// Ctrl-C, and what else ends programs, at some moments.
func TestEndToEndSignals(t *testing.T) {
	for name, test := range map[string]struct {
		signal os.Signal
		after  string // this was printed
		args   []string
	}{
		"interrupt while it runs":      {os.Interrupt, "web-2", nil},
		"interrupt while it starts":    {os.Interrupt, "its own API server", nil},
		"terminate when it is ready":   {syscall.SIGTERM, "Ready after", []string{"--output", "json"}},
		"hang-up while it prints JSON": {syscall.SIGHUP, `"change":"pod-joined"`, []string{"--output", "json"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := startExample(t, test.args...)
			p.WaitFor(test.after)
			p.Signal(test.signal)
			took := p.MustEnd(0, 5*time.Second)
			t.Logf("it took %s to end", took)
			p.expectNothingLeft()
		})
	}
}

// If the program is killed, the server notices, and ends and tidies up too.
func TestEndToEndKilled(t *testing.T) {
	p := startExample(t)
	p.WaitFor("web-1")
	p.Signal(os.Kill)
	p.MustEnd(-1, 5*time.Second)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for len(p.left()) > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("left behind: %q", p.left())
		}
	}
}

// If the server dies, the program says so, and fails.
func TestEndToEndServerDies(t *testing.T) {
	p := startExample(t)
	p.WaitFor("web-1")
	servers := p.servers()
	if len(servers) != 1 {
		t.Fatalf("%d servers are running, want 1", len(servers))
	}
	if err := syscall.Kill(servers[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	p.MustEnd(1, 5*time.Second)
	p.Expect("Error: the API server of the demonstration has ended")
	p.expectNothingLeft()
}

// The inspection command prints the object graph, and starts no server.
func TestEndToEndHive(t *testing.T) {
	p := startExample(t, "hive")
	took := p.MustEnd(0, 5*time.Second)
	t.Logf("it took %s", took)
	p.Expect("k8s-pod-v1", "k8s-service-v1", "follow", "Start hooks", "cells.resourceHook[*k8s.io/api/core/v1.Pod].Start", "k8s-status-server")
	if strings.Contains(p.Output.String(), "API server of its own (dev") {
		t.Error("it started a server")
	}
	p.expectNothingLeft()
}

// startCluster starts an API server that ends with the test.
func startCluster(t *testing.T) (*devcluster.Cluster, kubernetes.Interface) {
	t.Helper()
	cluster, err := devcluster.Start(t.Context(), devcluster.Config{Binary: serverBinary(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	client, err := kubernetes.NewForConfig(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	return cluster, client
}

// A cluster that is somebody's: it is only read, what is forbidden is said, and what
// is allowed later is followed.
func TestEndToEndCluster(t *testing.T) {
	cluster, admin := startCluster(t)
	create := metav1.CreateOptions{}
	if _, err := admin.CoreV1().Services("default").Create(t.Context(), webService(), create); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CoreV1().Pods("default").Create(t.Context(), webPod(), create); err != nil {
		t.Fatal(err)
	}
	rule := func(resource string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{"list", "watch"}}
	}
	jane, err := cluster.AddUser(t.Context(), "jane", rule("services"))
	if err != nil {
		t.Fatal(err)
	}
	p := startExample(t, "--k8s-kubeconfig", jane.Kubeconfig())
	p.WaitFor("! Pod.v1")
	p.WaitFor("default/web")
	p.Expect("forbidden", `User "jane" cannot`, `resource "pods"`, "pods not known")
	if err := jane.SetRules(t.Context(), rule("services"), rule("pods")); err != nil {
		t.Fatal(err)
	}
	p.WaitFor("healthy again")
	p.WaitFor("default/web          0/1     web-1")
	p.Signal(os.Interrupt)
	p.MustEnd(0, 5*time.Second)
	p.expectNothingLeft()
	if _, err := admin.CoreV1().Namespaces().Get(t.Context(), demoNamespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the demonstration was here: %v", err)
	}

	// The same for programs, and by the environment.
	t.Setenv("KUBECONFIG", jane.Kubeconfig())
	p = startExample(t, "--output", "json", "--run-for", "2s")
	p.MustEnd(0, 10*time.Second)
	seen := map[changeKind]bool{}
	for text := range strings.Lines(p.Output.String()) {
		if strings.HasPrefix(text, "The status page is at ") {
			continue // a note on standard error
		}
		var c change
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Errorf("%q is no JSON: %v", text, err)
		}
		seen[c.Change] = true
	}
	if !seen[serviceAdded] || !seen[podJoined] || !seen[synced] {
		t.Errorf("there were only the changes %v", seen)
	}
}

// serverBinary returns the devcluster command, and builds it if make has not.
func serverBinary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv(devcluster.BinaryEnv); path != "" {
		return path
	}
	if testing.Short() {
		t.Skipf("needs the devcluster command: \"make build\" in the repository makes bin/devcluster, set %s to its path", devcluster.BinaryEnv)
	}
	return build(t, "github.com/apiary-go/apiary/devcluster/cmd/devcluster", "../devcluster")
}

// build has the go command build a program, once for all tests.
func build(t *testing.T, program, dir string) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, filepath.Base(program))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, program)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", program, err, out)
	}
	return path
}

// example is a run of the program, with a directory of its own for what is
// temporary.
type example struct {
	*clitest.Program
	t    *testing.T
	temp string
}

func startExample(t *testing.T, args ...string) *example {
	t.Helper()
	server := serverBinary(t)
	temp, err := os.MkdirTemp("", "e2e-") // short, since there will be a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(temp); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command(build(t, "github.com/apiary-go/apiary/example", "."), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp, devcluster.BinaryEnv+"="+server)
	return &example{Program: clitest.Start(t, cmd), t: t, temp: temp}
}

func (p *example) expectNothingLeft() {
	p.t.Helper()
	if left := p.left(); len(left) > 0 {
		p.t.Errorf("left behind: %q", left)
	}
}

// left returns the files and processes that there are.
func (p *example) left() []string {
	p.t.Helper()
	var left []string
	entries, err := os.ReadDir(p.temp)
	if err != nil {
		p.t.Fatal(err)
	}
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	for _, pid := range p.servers() {
		left = append(left, "process "+strconv.Itoa(pid))
	}
	return left
}

// servers returns the processes whose arguments name the temporary directory. Where
// there is no /proc it finds none.
func (p *example) servers() []int {
	p.t.Helper()
	var pids []int
	entries, err := os.ReadDir("/proc")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// Empty for one that has ended and that nobody has waited for.
		args, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err == nil && strings.Contains(string(args), "="+p.temp+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// The scripts of TestScripts pass on a real API server.
func TestEndToEndScripts(t *testing.T) {
	cluster, _ := startCluster(t)
	runScripts(t, func() cell.Cell { return cells.ClientFrom(cluster.Config()) })
}

// The shell command shows what a running example follows.
func TestEndToEndShell(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "shell.sock")
	p := startExample(t, "--shell-sock-path", socket)
	p.WaitFor("web-1")
	shell := startExample(t, "shell", "--shell-sock-path", socket, "resources")
	shell.MustEnd(0, 20*time.Second)
	shell.Expect("All in sync: 2", "Pod.v1", "Service.v1")
	wrong := startExample(t, "shell", "--shell-sock-path", socket, "resource/show", "nothing")
	wrong.MustEnd(1, 20*time.Second)
	wrong.Expect(`there is no resource "nothing"`)
	p.Signal(os.Interrupt)
	p.MustEnd(0, 5*time.Second)
	p.expectNothingLeft()
}
