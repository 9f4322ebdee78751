// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/hive/cell"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// What no text may have in it.
const canary = "SuperS3cretTokenValue"

const canaryKubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: c
  cluster: {server: "https://127.0.0.1:1"}
users:
- name: u
  user: {token: ` + canary + `}
contexts:
- name: x
  context: {cluster: c, user: u}
current-context: x
`

// Whatever is wrong with a configuration, no text shows a credential of it; and each error
// says where to look.
func TestConfigurationsAreNotQuoted(t *testing.T) {
	noCluster(t)
	in := func(old, new string) string { return strings.Replace(canaryKubeconfig, old, new, 1) }
	user := func(fields string) string { return in("token: "+canary, fields) }
	cluster := func(fields string) string { return in(`server: "https://127.0.0.1:1"`, fields) }
	long := strings.Repeat(canary, 20)
	for name, test := range map[string]struct {
		text string
		want string // in the error, empty: of the request
	}{
		"good":                 {canaryKubeconfig, ""},
		"users a string":       {in("- name: u\n  user: {token: "+canary+"}", canary), "line"},
		"token a list":         {user("token: [" + canary + "]"), "token"},
		"token a map":          {user("token: {" + canary + ": 1}"), "token"},
		"no yaml":              {user("token: " + canary + ": :"), "line"},
		"tabs":                 {in("  user: {token: "+canary+"}", "\tuser: {token: "+canary+"}"), "line"},
		"twice":                {canaryKubeconfig + "users: [" + canary + "]\n", "users"},
		"another kind":         {in("kind: Config", "kind: Secret"), `no kind "Secret"`},
		"certificate":          {user("client-certificate-data: " + canary + "!!, client-key-data: " + canary), "not a kubeconfig"},
		"certificate no PEM":   {user("client-certificate-data: " + base64.StdEncoding.EncodeToString([]byte(canary)) + ", client-key-data: U3VwZXI="), "PEM"},
		"key in place of file": {user(`client-certificate: /no/such, client-key: "-----BEGIN KEY-----\n` + canary + `"`), "unable to read client-key"},
		"token for its file":   {user("tokenFile: " + long), "open ***: file name too long"},
		"user and password":    {cluster(`server: "https://admin:` + canary + `@127.0.0.1:1"`), ""},
		"a token as user":      {cluster(`server: "https://` + canary + `@127.0.0.1:1"`), ""},
		"bad port":             {cluster(`server: "https://admin:` + canary + `@127.0.0.1:bad"`), "not a valid URL"},
		"bad password":         {cluster(`server: "https://admin:12/` + canary + `@127.0.0.1:1"`), "not a valid URL"},
		"bad proxy":            {cluster(`server: "https://127.0.0.1:1", proxy-url: "http://u:` + canary + `@ 1"`), "http://***@ 1"},
		"proxy with quotes":    {cluster(`server: "https://127.0.0.1:1", proxy-url: "http://u:\"` + canary + `@ 1"`), "http://***@ 1"},
		"proxy of no scheme":   {cluster(`server: "https://127.0.0.1:1", proxy-url: "foo://u:` + canary + `@h"`), "foo://***@h"},
		"proxy":                {cluster(`server: "https://127.0.0.1:1", proxy-url: "http://u:` + canary + `@127.0.0.1:1"`), ""},
		"plugin":               {user("exec: {command: /no/such, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, args: [" + canary + "]}"), ""},
		"plugin of no version": {user("exec: {command: /no/such, apiVersion: v9, interactiveMode: Never, env: [{name: A, value: " + canary + "}]}"), "v9"},
		"two ways":             {user("token: " + canary + ", username: a, password: " + canary), "more than one authentication method"},
	} {
		for _, variable := range []bool{false, true} {
			file := write(t, test.text)
			cfg := DefaultClientConfig
			if variable {
				t.Setenv("KUBECONFIG", "/no/such:"+file)
			} else {
				t.Setenv("KUBECONFIG", "")
				cfg.K8sKubeconfig = file
			}
			checkSecret(t, name, cfg, test.want)
		}
	}
	t.Setenv("KUBECONFIG", "")
	for _, address := range []string{"https://admin:" + canary + "@127.0.0.1:1", "admin:" + canary + "@127.0.0.1:1", "https://admin:" + canary + "@127.0.0.1:bad", "ftp://" + canary + "@h"} {
		cfg := DefaultClientConfig
		cfg.K8sAPIServer = address
		want := ""
		if !strings.HasSuffix(address, ":1") {
			want = "***@"
		}
		checkSecret(t, address, cfg, want)
	}
}

// checkSecret fails if anything that a client says shows the canary. The client cannot be
// made, for a reason with want in it, or else the server cannot be reached.
func checkSecret(t *testing.T, name string, cfg ClientConfig, want string) {
	t.Helper()
	out, err := newClient(&cell.DefaultLifecycle{}, cfg)
	text := ""
	if err == nil {
		if want != "" {
			t.Errorf("%s: no error", name)
		}
		if _, err = out.Discovery.ServerVersion(); err == nil {
			t.Errorf("%s: the request did not fail", name)
		}
		_, streamed := out.State.stream(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "", false, metav1.ListOptions{})
		text = fmt.Sprint(out.State, out.State.Origin(), streamed)
		out.State.http.CloseIdleConnections()
	} else if want == "" {
		t.Errorf("%s: %v", name, err)
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		text += e.Error()
	}
	if strings.Contains(text, canary) || !strings.Contains(text, want) {
		t.Errorf("%s: %s, want %q in it and no credential", name, text, want)
	}
}

// The content of a kubeconfig in the place of its path is not shown.
func TestKubeconfigForItsPath(t *testing.T) {
	noCluster(t)
	json := `{"apiVersion":"v1","kind":"Config","users":[{"name":"u","user":{"token":"` + canary + `"}}]}`
	for name, content := range map[string]string{
		"YAML": canaryKubeconfig, "JSON": json, "in a line": "kind: Config, token: " + canary,
		"base64": base64.StdEncoding.EncodeToString([]byte(canaryKubeconfig)), "a long token": strings.Repeat(canary, 20),
	} {
		cfg := DefaultClientConfig
		cfg.K8sKubeconfig = content
		t.Setenv("KUBECONFIG", "")
		_, err1 := newClient(&cell.DefaultLifecycle{}, cfg)
		t.Setenv("KUBECONFIG", content)
		_, err2 := newClient(&cell.DefaultLifecycle{}, DefaultClientConfig)
		for want, err := range map[string]error{"--k8s-kubeconfig:": err1, "KUBECONFIG:": err2} {
			if text := fmt.Sprint(err); !errors.Is(err, errContent) || !strings.Contains(text, want) || strings.Contains(text, content[:20]) || strings.Contains(text, canary) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
