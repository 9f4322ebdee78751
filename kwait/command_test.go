// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/cells"
)

// The namespace is that of the flag, of the context, or "default".
func TestWaitNamespace(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{apiVersion: v1, kind: Config, current-context: a, clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}],
		contexts: [{name: a, context: {cluster: c, namespace: in-a}}, {name: b, context: {cluster: c}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NAMESPACE", "other") // is about something else
	for name, test := range map[string]struct {
		env  string
		args []string
		want string
	}{
		"none":                    {"", nil, "default"},
		"flag":                    {kubeconfig, []string{"-n", "flag"}, "flag"},
		"environment":             {kubeconfig, nil, "in-a"},
		"kubeconfig":              {"", []string{"--k8s-kubeconfig", kubeconfig}, "in-a"},
		"as others call it":       {"", []string{"--kubeconfig", kubeconfig}, "in-a"},
		"context":                 {"", []string{"--k8s-kubeconfig", kubeconfig, "--k8s-context", "b"}, "default"},
		"no such context":         {"", []string{"--k8s-kubeconfig", kubeconfig, "--k8s-context", "x"}, "default"},
		"kubeconfig is not there": {"", []string{"--k8s-kubeconfig", kubeconfig + "x"}, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", test.env)
			p := newProgram(cells.Client, io.Discard)
			if err := p.command().ParseFlags(append(test.args, "-f", "-")); err != nil {
				t.Fatal(err)
			}
			p.findKubeconfig()
			in, err := p.read(nil, strings.NewReader(podManifest))
			if got := names(in.ids); err != nil || !slices.Equal(got, []string{"Pod " + test.want + "/one"}) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// Without another cluster it uses ~/.kube/config.
func TestWaitHomeKubeconfig(t *testing.T) {
	home := filepath.Join(t.TempDir(), "config")
	defer func(before string) { clientcmd.RecommendedHomeFile = before }(clientcmd.RecommendedHomeFile)
	clientcmd.RecommendedHomeFile = home
	for name, test := range map[string]struct {
		exists bool
		env    string
		args   []string
		want   string
	}{
		"home":        {true, "", nil, home},
		"no home":     {false, "", nil, ""},
		"environment": {true, "other", nil, ""},
		"flag":        {true, "", []string{"--kubeconfig", "other"}, "other"},
		"server":      {true, "", []string{"--k8s-api-server", "127.0.0.1:1"}, ""},
		"context":     {true, "", []string{"--context", "x"}, home},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBECONFIG", test.env)
			_ = os.Remove(home)
			if test.exists {
				if err := os.WriteFile(home, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := newProgram(cells.Client, io.Discard)
			if err := p.command().ParseFlags(test.args); err != nil {
				t.Fatal(err)
			}
			p.findKubeconfig()
			if got := p.hive.Viper().GetString("k8s-kubeconfig"); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// What a user gets wrong is said in a line, and the exit code is 3.
func TestWaitCommandErrors(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"nothing":       {[]string{}, "name an object, such as deployment/web, or a file with -f"},
		"argument":      {[]string{"app.yaml"}, `"app.yaml": name the object, such as app.yaml/NAME, or select objects with -l or --all`},
		"unknown flag":  {[]string{"--nope"}, "see kwait --help"},
		"until":         {[]string{"-f", "-", "--for", "x"}, "--for=x: want current, deleted or condition=NAME[=VALUE]"},
		"no time":       {[]string{"-f", "-", "--timeout", "soon"}, "--timeout"},
		"negative":      {[]string{"-f", "-", "--timeout", "-1s"}, "--timeout=-1s: must not be negative"},
		"jobs":          {[]string{"-f", "-", "--jobs", "x"}, "--jobs=x: want completed or started"},
		"namespace":     {[]string{"-f", "-", "-n", "a/b"}, `--namespace="a/b": `},
		"output":        {[]string{"-f", "-", "-o", "xml"}, "--output=xml: want text or json"},
		"condition":     {[]string{"-f", "-", "--for", "condition="}, "the name or the value of the condition is missing"},
		"value":         {[]string{"-f", "-", "--for", "condition=Ready="}, "the name or the value of the condition is missing"},
		"selector":      {[]string{"pods", "-l", "a b"}, "--selector=a b: "},
		"both":          {[]string{"pods", "-l", "a", "--all"}, "--selector and --all are both set"},
		"-A alone":      {[]string{"pod/a", "-A"}, "--all-namespaces needs --selector or --all"},
		"no type":       {[]string{"--all"}, "-l and --all need a type"},
		"reason":        {[]string{"-f", "-", "--pod-waiting", "A,,B"}, "--pod-waiting=A,,B: a reason is empty"},
		"missing file":  {[]string{"-f", "missing.yaml"}, "missing.yaml"},
		"no kubeconfig": {[]string{"-f", "-", "--k8s-kubeconfig", "missing"}, "kubeconfig of --k8s-kubeconfig=missing"},
		"no server":     {[]string{"-f", "-"}, cells.ErrNotConfigured.Error()},
		"level":         {[]string{"-f", "-", "--log-level", "loud"}, "--log-level=loud"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			cmd := newProgram(cells.Client, &out).command()
			cmd.SetArgs(test.args)
			cmd.SetIn(strings.NewReader(podManifest))
			cmd.SetOut(&out)
			cmd.SetErr(&out)
			err := cmd.Execute()
			if code, report := exitCode(err); err == nil || !strings.Contains(err.Error(), test.want) || code != 3 || !report {
				t.Errorf("error %v, exit code %d, want %q in it", err, code, test.want)
			}
			if out.Len() > 0 {
				t.Errorf("it printed:\n%s", &out)
			}
		})
	}
}
