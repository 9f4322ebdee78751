// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
)

// everything is all that the client cells provide.
type everything struct {
	cell.In

	State      *ClientState
	Config     *rest.Config
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Mapper     meta.ResettableRESTMapper
}

// noCluster has nothing in the environment name a cluster.
func noCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("KUBERNETES_SERVICE_PORT", "")
}

// serve serves api, and counts connections.
func serveAPI(t *testing.T, api http.Handler) (url string, connections *atomic.Int64) {
	connections = &atomic.Int64{}
	server := httptest.NewUnstartedServer(api)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, connections
}

func TestClientOneTransport(t *testing.T) {
	noCluster(t)
	api := fakeapi.New(widgets)
	url, connections := serveAPI(t, api)
	err := run(t, quiet(), []string{"--k8s-api-server=" + url}, Client, cell.Invoke(func(lc cell.Lifecycle, c everything) {
		if !c.State.IsEnabled() || c.State.Err() != nil || !strings.Contains(c.State.Origin(), flagAPIServer) {
			t.Error(c.State)
		}
		lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
			if n := len(api.Requests()); n != 0 || connections.Load() != 0 {
				t.Errorf("%d requests before the start", n)
			}
			_, err1 := c.Kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			_, err2 := c.Dynamic.Resource(widgets.GVR()).List(ctx, metav1.ListOptions{})
			_, err3 := c.Metadata.Resource(widgets.GVR()).List(ctx, metav1.ListOptions{})
			_, err4 := c.Discovery.ServerVersion()
			further, err6 := kubernetes.NewForConfigAndClient(c.Config, c.State.HTTPClient())
			if err := errors.Join(err1, err2, err3, err4, err6); err != nil {
				return err
			}
			if _, err := further.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); err != nil {
				return err
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
			mapping, err := c.Mapper.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Widget"})
			if err == nil && mapping.Resource != widgets.GVR() {
				t.Error(mapping.Resource)
			}
			return err
		}})
	}))
	if err != nil {
		t.Fatal(err)
	}
	var accepts []string
	for _, r := range api.Requests() {
		if r.Verb == "list" {
			accepts = append(accepts, r.Resource.Resource+" "+r.Accept)
		}
		if !strings.HasPrefix(r.UserAgent, "cells.test/") {
			t.Error(r.UserAgent)
		}
	}
	want := []string{
		"pods application/vnd.kubernetes.protobuf,application/json",
		"widgets application/json",
		"widgets application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
		"pods application/vnd.kubernetes.protobuf,application/json",
	}
	if strings.Join(accepts, "\n") != strings.Join(want, "\n") {
		t.Error(strings.Join(accepts, "\n"))
	}
}

func TestClientDisabled(t *testing.T) {
	noCluster(t)
	err := run(t, quiet(), nil, Client, cell.Invoke(func(c everything) {
		if c.State.IsEnabled() || !errors.Is(c.State.Err(), ErrNotConfigured) || c.State.Origin() != "" {
			t.Error(c.State)
		}
		ctx := context.Background()
		_, err1 := c.Kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		_, err2 := c.Dynamic.Resource(widgets.GVR()).List(ctx, metav1.ListOptions{})
		_, err3 := c.Metadata.Resource(widgets.GVR()).List(ctx, metav1.ListOptions{})
		_, err4 := c.Discovery.ServerVersion()
		_, err5 := c.Mapper.RESTMapping(schema.GroupKind{Group: "example.com", Kind: "Widget"})
		further, err := kubernetes.NewForConfig(c.Config)
		if err != nil {
			t.Fatal(err)
		}
		_, err6 := further.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		for i, err := range []error{err1, err2, err3, err4, err5, err6} {
			if !errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), "--k8s-kubeconfig") {
				t.Errorf("%d: %v", i, err)
			}
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// A pod that is to have no service account is not configured; one file of it that
// cannot be read would be an error.
func TestClientPodWithoutServiceAccount(t *testing.T) {
	const token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
	if _, err := os.Stat(token); err == nil {
		t.Skip("this is a pod with a service account")
	}
	noCluster(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	if cfg, _, err := (ClientConfig{}).restConfig(); cfg != nil || err != nil {
		t.Error(cfg, err)
	}
	cfg, _, err := ClientConfig{K8sAPIServer: "http://localhost:8080"}.restConfig()
	if err != nil || cfg.Host != "http://localhost:8080" || cfg.BearerToken != "" {
		t.Error(cfg, err)
	}
}

const kubeconfig = `apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: one, cluster: {server: "https://one.example:6443"}}
- {name: two, cluster: {server: "https://two.example:6443"}}
users:
- {name: me, user: {token: secret}}
contexts:
- {name: one, context: {cluster: one, user: me}}
- {name: two, context: {cluster: two, user: me}}
`

func write(t *testing.T, content string) string {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestClientConfigOrder(t *testing.T) {
	file := write(t, kubeconfig)
	other := write(t, strings.ReplaceAll(kubeconfig, "one.example", "env.example"))
	for _, c := range []struct {
		name, env, host, token string
		cfg                    ClientConfig
	}{
		{name: "flag", cfg: ClientConfig{K8sKubeconfig: file}, env: other, host: "https://one.example:6443", token: "secret"},
		{name: "context", cfg: ClientConfig{K8sKubeconfig: file, K8sContext: "two"}, host: "https://two.example:6443", token: "secret"},
		{name: "environment", env: other, host: "https://env.example:6443", token: "secret"},
		{name: "several files", env: "/nowhere:" + other, host: "https://env.example:6443", token: "secret"},
		{name: "address and kubeconfig", cfg: ClientConfig{K8sKubeconfig: file, K8sAPIServer: "https://x:1"}, host: "https://x:1", token: "secret"},
		{name: "address alone", cfg: ClientConfig{K8sAPIServer: "x:1"}, host: "https://x:1"},
		{name: "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			noCluster(t)
			t.Setenv("KUBECONFIG", c.env)
			got, origin, err := c.cfg.restConfig()
			if err != nil {
				t.Fatal(err)
			}
			if c.cfg.Configured() != (c.host != "") {
				t.Error("Configured is", c.cfg.Configured())
			}
			if c.host == "" {
				if got != nil || origin != "" {
					t.Error(got, origin)
				}
				return
			}
			if got.Host != c.host || got.BearerToken != c.token || origin == "" || got.Timeout != 0 {
				t.Error(got, origin)
			}
		})
	}
}

func TestClientConfigErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		want []string
	}{
		"no file":     {args: []string{"--k8s-kubeconfig=/nowhere/config"}, want: []string{"--k8s-kubeconfig=/nowhere/config", "no such file"}},
		"no yaml":     {args: []string{"--k8s-kubeconfig=" + write(t, "::")}, want: []string{"--k8s-kubeconfig="}},
		"empty":       {args: []string{"--k8s-kubeconfig=" + write(t, "")}, want: []string{"--k8s-kubeconfig=", "names no cluster"}},
		"environment": {env: "/nowhere/config", want: []string{"KUBECONFIG=/nowhere/config", "no such file"}},
		"context":     {args: []string{"--k8s-kubeconfig=" + write(t, kubeconfig), "--k8s-context=three"}, want: []string{"three"}},
		"no context":  {args: []string{"--k8s-context=three"}, want: []string{"--k8s-context", "--k8s-kubeconfig"}},
		"address":     {args: []string{"--k8s-api-server=ftp://x"}, want: []string{"--k8s-api-server=ftp://x"}},
		"burst":       {args: []string{"--k8s-client-burst=0"}, want: []string{"--k8s-client-burst"}},
		"timeout":     {args: []string{"--k8s-request-timeout=-1s", "--k8s-connect-timeout=-1s"}, want: []string{"--k8s-request-timeout", "--k8s-connect-timeout"}},
	} {
		t.Run(name, func(t *testing.T) {
			noCluster(t)
			t.Setenv("KUBECONFIG", c.env)
			err := run(t, quiet(), c.args, Client, cell.Invoke(func(*ClientState) {}))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
		})
	}
}

func TestClientFlags(t *testing.T) {
	noCluster(t)
	t.Setenv("TEST_K8S_CLIENT_QPS", "7.5")
	t.Setenv("TEST_K8S_REQUEST_TIMEOUT", "3s")
	opts := hive.DefaultOptions()
	opts.EnvPrefix = "TEST_"
	h := hive.NewWithOptions(opts, Client, cell.Invoke(func(cfg ClientConfig) {
		want := DefaultClientConfig
		want.K8sClientQPS, want.K8sClientBurst, want.K8sRequestTimeout = 7.5, 9, 3*time.Second
		if cfg != want {
			t.Errorf("%+v", cfg)
		}
	}))
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	h.RegisterFlags(flags)
	if err := flags.Parse([]string{"--k8s-client-burst=9"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Populate(quiet()); err != nil {
		t.Fatal(err)
	}
}

func TestClientRequestTimeout(t *testing.T) {
	noCluster(t)
	hang := make(chan struct{})
	url, _ := serveAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte(`{"kind":"PodList",`))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer close(hang)
	cfg, _, err := ClientConfig{K8sAPIServer: url, K8sRequestTimeout: 20 * time.Millisecond}.restConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := buildClient(cfg, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.State.http.CloseIdleConnections()
	_, err = c.Kubernetes.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), flagRequestTimeout) {
		t.Error(err)
	}
	// A watch outlives the timeout.
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	w, err := c.Kubernetes.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range w.ResultChan() {
	}
	if ctx.Err() == nil {
		t.Error("the watch ended before its context")
	}
	w.Stop()
}
