// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// Each cluster has its flags and environment variables.
func TestClusterFlags(t *testing.T) {
	noCluster(t)
	t.Setenv("TEST_EAST_K8S_API_SERVER", "https://east.example:6443")
	t.Setenv("TEST_EAST_K8S_REQUEST_TIMEOUT", "3s")
	t.Setenv("KUBECONFIG", write(t, kubeconfig))
	opts := hive.DefaultOptions()
	opts.EnvPrefix = "TEST_"
	var got Clusters
	h := hive.NewWithOptions(opts, Client, NamedClients("west", "east", "north", "south"), cell.Invoke(func(c Clusters) { got = c }))
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	h.RegisterFlags(flags)
	file := write(t, strings.ReplaceAll(kubeconfig, "one.example", "file.example"))
	if err := flags.Parse([]string{"--west-k8s-kubeconfig=" + file, "--west-k8s-client-qps=7.5", "--west-k8s-client-burst=9", "--north-k8s-context=two"}); err != nil {
		t.Fatal(err)
	}
	if err := h.Populate(quiet()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		host, origin string
		qps          float32
		burst        int
	}{
		"west":  {"https://file.example:6443", "--west-k8s-kubeconfig=" + file, 7.5, 9},
		"east":  {"https://east.example:6443", "--east-k8s-api-server=https://east.example:6443", 50, 100},
		"north": {"https://two.example:6443", "KUBECONFIG=", 50, 100}, // its own context of KUBECONFIG
	} {
		c, err := got.Get(name)
		if err != nil {
			t.Fatal(err)
		}
		if c.Config.Host != want.host || !strings.HasPrefix(c.State.Origin(), want.origin) || c.Config.QPS != want.qps || c.Config.Burst != want.burst {
			t.Errorf("%s: got %s by %s, %v, %d", name, c.Config.Host, c.State.Origin(), c.Config.QPS, c.Config.Burst)
		}
	}
	var out strings.Builder
	if err := h.PrintObjects(&out, quiet()); err != nil || !strings.Contains(out.String(), "east-k8s-api-server") {
		t.Error(err, out.String())
	}
	south, err := got.Get("south")
	if err != nil {
		t.Fatal(err)
	}
	if err := south.State.Err(); !errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), "cluster south: set --south-k8s-kubeconfig") {
		t.Error(err)
	}
	if got.Unnamed.Origin() == "" {
		t.Error("the client without a name has not read KUBECONFIG")
	}
}

// A cluster that is not configured is disabled. The others work.
func TestClusterDisabled(t *testing.T) {
	noCluster(t)
	url, _ := serveAPI(t, apiWith(t, "west"))
	health := newHealthLog()
	err := run(t, quiet(), []string{"--west-k8s-api-server=" + url}, NamedClients("west", "east"),
		cell.Provide(func() cell.Health { return health }),
		ResourceAs(asWest, OfCluster("west")), ResourceAs(asEast, OfCluster("east")),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			West westPods
			East eastPods
		}) error {
			health.await(t, "east/cells.eastPods Stopped: disabled", "--east-k8s-kubeconfig")
			expect(t, keys(storeOf[*corev1.Pod](t, ctx, in.West)), "a/west")
			if _, err := in.East.Store(ctx); !errors.Is(err, ErrNotConfigured) || !strings.Contains(err.Error(), "east/cells.eastPods") {
				t.Error(err)
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}

func TestClusterErrors(t *testing.T) {
	noCluster(t)
	config := fakeapi.New().Config()
	pods := func(opts ...Option) cell.Cell {
		return cell.Group(ResourceAs(asWest, opts...), cell.Invoke(func(westPods) {}))
	}
	for name, tt := range map[string]struct {
		cells cell.Cell
		args  []string
		want  string
	}{
		"unknown": {
			cells: cell.Group(NamedClientFrom("west", config), NamedClientFrom("east", config), pods(OfCluster("north"))),
			want:  `resource cells.westPods: cells.OfCluster: there is no cluster "north": want one of ["east" "west"]`,
		},
		"none":         {cells: cell.Group(Client, pods(OfCluster("north"))), want: "the hive has none with a name: add cells.NamedClients"},
		"no name":      {cells: cell.Group(NamedClientFrom("west", config), pods()), want: `add cells.Client, or select a cluster with cells.OfCluster: ["west"]`},
		"dependency":   {cells: cell.Group(FakeClientWith(func(westPods) *fakeapi.Server { return nil }), Resource[*corev1.Pod](), cell.Invoke(func(resource.Resource[*corev1.Pod]) {})), want: "missing type: cells.westPods"},
		"no client":    {cells: pods(), want: "add cells.Client"},
		"twice":        {cells: cell.Group(NamedClients("west"), NamedClientFrom("west", config)), want: `the hive has two clusters "west"`},
		"twice, flags": {cells: NamedClients("west", "west"), want: `the hive has two clusters "west"`},
		"invalid":      {cells: NamedClients("West_1"), want: `cluster "West_1": the name is invalid`},
		"empty":        {cells: NamedClientFrom("", config), want: `cluster "": the name is invalid`},
		"nil":          {cells: NamedClientFrom("west", nil), want: "cluster west: cells.NamedClientFrom: config is nil"},
		"nil server":   {cells: NamedFakeClient("west", nil), want: "cluster west: cells.NamedFakeClient: the server is nil"},
		"bad":          {cells: NamedClientFrom("west", &rest.Config{Host: "://"}), want: "kubernetes client by the constructor of cluster west"},
		"flag":         {cells: NamedClients("west"), args: []string{"--west-k8s-api-server=ftp://x"}, want: "cluster west: kubernetes client: --west-k8s-api-server=ftp://x"},
		"context":      {cells: NamedClients("west"), args: []string{"--west-k8s-context=x"}, want: "--west-k8s-context=x: no kubeconfig is configured: set --west-k8s-kubeconfig"},
		"status":       {cells: cell.Group(FakeClient, StatusWith(status.Config{}, InNamespace("a")), cell.Invoke(func(*status.Engine) {})), want: "only cells.OfCluster and cells.Private apply"},
		"status of":    {cells: cell.Group(FakeClient, StatusWith(status.Config{}, OfCluster("x")), cell.Invoke(func(*status.Engine) {})), want: `cells.StatusWith: cells.OfCluster: there is no cluster "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t, quiet(), tt.args, tt.cells); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
	t.Setenv("TEST_WEST_K8S_CLIENT_BURST", "many")
	opts := hive.DefaultOptions()
	opts.EnvPrefix = "TEST_"
	err := hive.NewWithOptions(opts, NamedClients("west")).Populate(quiet())
	if err == nil || !strings.Contains(fmt.Sprintf("%+v", err), "west-k8s-client-burst") {
		t.Error(err)
	}
}
