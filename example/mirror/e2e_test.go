// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/internal/clitest"
)

// The program as it is run, against a real API server.
func TestEndToEnd(t *testing.T) {
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
	e := &endToEnd{cluster: cluster, client: client, program: build(t, "github.com/apiary-go/apiary/example/mirror", ".")}
	t.Run("killed", e.killed)
	t.Run("restarted", e.restarted)
	t.Run("forbidden", e.forbidden)
}

type endToEnd struct {
	cluster *devcluster.Cluster
	client  kubernetes.Interface
	program string
}

// A restart writes what has changed, and nothing else; it lists only if the server
// no longer has the version.
func (e *endToEnd) restarted(t *testing.T) {
	maps := e.namespace(t, "restarted")
	for _, name := range []string{"a", "b", "c"} {
		maps.create(name)
	}
	db := filepath.Join(t.TempDir(), "mirror.db")
	args := []string{"--db", db, "--kubeconfig", e.cluster.Kubeconfig(), "--namespace", "restarted", "-v", "configmaps", "secrets"}
	const configMaps = "restarted/configmaps.v1: "

	for _, step := range []struct {
		name   string
		change func()
		until  string
		want   string
	}{
		{"first", func() {}, configMaps + "listed: ", "3 objects, 3 written, 0 deleted, 1 list"},
		{"nothing has changed", func() {}, configMaps + "resumed from version ", "3 objects, 0 written, 0 deleted, 0 lists"},
		{"one has changed", func() { maps.update("b") }, configMaps + "wrote restarted/b ", "3 objects, 1 written, 0 deleted, 0 lists"},
		{"one is gone", func() { maps.delete("c") }, configMaps + "deleted restarted/c", "2 objects, 0 written, 1 deleted, 0 lists"},
		{"one is another one", func() { maps.delete("a"); maps.create("a") }, configMaps + "wrote restarted/a ", "2 objects, 1 written, 1 deleted, 0 lists"},
		{"the server was restarted", func() {
			e.namespace(t, "elsewhere").create("a") // it has news, though none for this mirror
			if err := e.cluster.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, configMaps + "listed, since the server no longer has the version to resume from: ", "2 objects, 0 written, 0 deleted, 1 list"},
		{"and since then nothing has changed", func() {}, configMaps + "resumed from version ", "2 objects, 0 written, 0 deleted, 0 lists"},
	} {
		step.change()
		p := e.start(t, args...)
		p.waitFor(step.until)
		p.signal(os.Interrupt)
		took := p.mustEnd(0)
		t.Logf("%s: it ended within %v", step.name, took)
		if took > 2*time.Second {
			t.Errorf("%s: it took %v to end", step.name, took)
		}
		if want := configMaps + step.want; !strings.Contains(p.output.String(), want) {
			t.Errorf("%s: %q is not in what was printed:\n%s", step.name, want, p.output)
		}
		maps.compare(db)
	}
}

// What is forbidden is said, and does not keep the program from ending.
func (e *endToEnd) forbidden(t *testing.T) {
	jane, err := e.cluster.AddUser(t.Context(), "jane")
	if err != nil {
		t.Fatal(err)
	}
	p := e.start(t, "--db", filepath.Join(t.TempDir(), "mirror.db"), "--kubeconfig", jane.Kubeconfig(), "pods")
	p.waitFor("by a role and a role binding")
	p.signal(os.Interrupt)
	p.mustEnd(0)
	for _, part := range []string{`User \"jane\" cannot list resource \"pods\"`, "pods.v1: 0 objects, 0 written, 0 deleted, 1 list, will list at the next start"} {
		if !strings.Contains(p.output.String(), part) {
			t.Errorf("%q is not in what was printed:\n%s", part, p.output)
		}
	}
}

// upTo matches what is printed when the resume version was saved.
var upTo = regexp.MustCompile(`everything up to version (\d+) is in the file`)

// process is a run of the program.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *clitest.Output
	ended  chan struct{}
}

func (e *endToEnd) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, output: clitest.NewOutput(), ended: make(chan struct{})}
	p.cmd = exec.Command(e.program, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // see p.cmd.ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // if it runs
		<-p.ended
	})
	return p
}

// patience is how long a test waits for something that should happen.
const patience = time.Minute

// wait waits until is is true of what was printed, or over is closed.
func (p *process) wait(what string, is func(text string) bool, over <-chan time.Time) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		grown := p.output.Grown()
		if is(p.output.String()) {
			return
		}
		select {
		case <-grown:
		case <-over:
			return
		case <-p.ended:
			p.t.Fatalf("it ended without %s; it printed:\n%s", what, p.output)
		case <-deadline:
			p.t.Fatalf("%s does not come; it printed:\n%s", what, p.output)
		}
	}
}

func (p *process) waitFor(text string) {
	p.t.Helper()
	p.wait(strconv.Quote(text), func(printed string) bool { return strings.Contains(printed, text) }, nil)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// mustEnd waits for the end. The code is -1 if a signal ended it.
func (p *process) mustEnd(code int) time.Duration {
	p.t.Helper()
	begin := time.Now()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("it does not end; it printed:\n%s", p.output)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d; it printed:\n%s", got, code, p.output)
	}
	return time.Since(begin)
}

// configMaps are those of a namespace of its own.
type configMaps struct {
	t         *testing.T
	client    kubernetes.Interface
	namespace string
	count     atomic.Int64
}

func (e *endToEnd) namespace(t *testing.T, name string) *configMaps {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := e.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &configMaps{t: t, client: e.client, namespace: name}
}

// object returns one with data that it never had.
func (m *configMaps) object(name string) *corev1.ConfigMap {
	is := strconv.FormatInt(m.count.Add(1), 10)
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"is": is}}
}

// create and update return the version.
func (m *configMaps) create(name string) string {
	m.t.Helper()
	obj, err := m.client.CoreV1().ConfigMaps(m.namespace).Create(m.t.Context(), m.object(name), metav1.CreateOptions{})
	if err != nil {
		m.t.Error(err)
	}
	return obj.ResourceVersion
}

func (m *configMaps) update(name string) string {
	m.t.Helper()
	obj, err := m.client.CoreV1().ConfigMaps(m.namespace).Update(m.t.Context(), m.object(name), metav1.UpdateOptions{})
	if err != nil {
		m.t.Error(err)
	}
	return obj.ResourceVersion
}

func (m *configMaps) delete(name string) {
	m.t.Helper()
	if err := m.client.CoreV1().ConfigMaps(m.namespace).Delete(m.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		m.t.Error(err)
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
	return build(t, "github.com/apiary-go/apiary/devcluster/cmd/devcluster", "../../devcluster")
}

// build has the go command build a program.
func build(t *testing.T, program, dir string) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, filepath.Base(program))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", path, program)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", program, err, out)
	}
	return path
}
