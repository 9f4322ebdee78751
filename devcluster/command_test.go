// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/devcluster"
)

func command(args ...string) *exec.Cmd {
	return exec.Command(os.Getenv(devcluster.BinaryEnv), args...)
}

func TestCommandHelpAndMistakes(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		ok   bool
		want []string
	}{
		"help":           {[]string{"--help"}, true, []string{"--data-dir", "--exit-on-stdin-close", "kube-apiserver flags", "Ctrl-C"}},
		"version":        {[]string{"--version"}, true, []string{"kube-apiserver v1."}},
		"unknown flag":   {[]string{"--watch-cache=false"}, false, []string{"unknown flag", "come after --"}},
		"argument":       {[]string{"start"}, false, []string{`unknown argument "start"`}},
		"port":           {[]string{"--port=-1"}, false, []string{"is not a port"}},
		"timeout":        {[]string{"--start-timeout=0s"}, false, []string{"not positive"}},
		"no directory":   {[]string{"--temp-dir=/no/such"}, false, []string{"temporary directory"}},
		"server flag":    {[]string{"--", "--nonsense"}, false, []string{"unknown flag: --nonsense"}},
		"log not opened": {[]string{"--log-file=/no/such/file"}, false, []string{"open the log"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command(test.args...).CombinedOutput()
			if (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
		})
	}
}

func TestCommandSparesTheKubeconfigsOfOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := command("--kubeconfig", path).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not written by devcluster") {
		t.Errorf("%v: %s", err, out)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("the file is now %q, %v", data, err)
	}
}

func TestCommandRunsUntilInterrupted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	// The mode of an existing file is not kept.
	if err := os.WriteFile(kubeconfig, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := command("--data-dir", filepath.Join(dir, "data"), "--kubeconfig", kubeconfig, "--log-file", filepath.Join(dir, "log"))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := readUntil(t, stdout, "Ctrl-C ends it.")
	socket := regexp.MustCompile(`etcd +unix://(\S+)`).FindStringSubmatch(text)
	if socket == nil || !strings.Contains(text, "kubectl --kubeconfig "+kubeconfig) {
		t.Fatalf("printed:\n%s", text)
	}
	checkMode(t, kubeconfig, 0o600)
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, config).Resource(namespaces).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	began := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("ended after %s", took)
	}
	for _, gone := range []string{kubeconfig, filepath.Dir(socket[1])} {
		if _, err := os.Stat(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "etcd")); err != nil {
		t.Errorf("the data were not kept: %v", err)
	}
}

// readUntil returns the output up to a line with the given prefix.
func readUntil(t *testing.T, r io.Reader, prefix string) string {
	t.Helper()
	var text strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), prefix) {
			return text.String()
		}
	}
	t.Fatalf("no line begins with %q in:\n%s", prefix, text.String())
	return ""
}
