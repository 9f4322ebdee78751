// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/job"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/resource"
)

var greeterCell = cell.Module(
	"greeter", "Greets pods",

	cell.Invoke(registerGreeter),
)

type greeter struct {
	log *slog.Logger
}

func registerGreeter(jobs job.Group, log *slog.Logger, pods resource.Resource[*corev1.Pod]) {
	g := greeter{log: log}
	jobs.Add(job.Observer("greet", g.handle, pods))
}

func (g greeter) handle(_ context.Context, ev resource.Event[*corev1.Pod]) error {
	var err error // of the work: the key is retried
	switch ev.Kind {
	case resource.Upsert:
		g.log.Info("Hello", "key", ev.Key, "phase", ev.Object.Status.Phase)
	case resource.Delete:
		g.log.Info("Goodbye", "key", ev.Key)
	case resource.Sync:
		g.log.Info("These were all the pods, changes follow")
	}
	ev.Done(err)
	return err // the job logs it, and reports it as health
}

// greeterApp is everything except the client.
var greeterApp = cell.Group(
	cells.Resource[*corev1.Pod](cells.InNamespace("shop"), cells.WithLabelSelector("app=web")),
	greeterCell,

	// Jobs and health, as most applications have them.
	job.Cell,
	cell.SimpleHealthCell,
	cell.Provide(func(jobs job.Registry, health cell.Health) job.Group { return jobs.NewGroup(health) }),
)

// The first cell of docs/first-cell.md.
func Example_firstCell() {
	app := hive.New(cells.Client, greeterApp)
	cmd := &cobra.Command{Use: "greeter", SilenceUsage: true, RunE: func(*cobra.Command, []string) error {
		return app.Run(slog.Default()) // until SIGINT or SIGTERM
	}}
	app.RegisterFlags(cmd.Flags())
	cmd.AddCommand(app.Command()) // "greeter hive" shows what the application is made of
	if err := cmd.Execute(); err != nil {
		os.Exit(1)
	}
}

// The namespaces of tenants, which come and go.
var tenants namespaces.Set

var podsOfTenants = cells.Resource[*corev1.Pod](cells.InNamespaceSet(&tenants))

type nodeConfig struct {
	NodeName string
}

func newLocalPods(p cells.Params, cfg nodeConfig) (resource.Resource[*corev1.Pod], error) {
	return cells.NewResource[*corev1.Pod](p, cells.WithFieldSelector("spec.nodeName="+cfg.NodeName))
}

// requireCluster fails the start of the application if no cluster is configured.
var requireCluster = cell.Invoke(func(client *cells.ClientState) error { return client.Err() })

// optionalGreeter greets only if a cluster is configured.
func optionalGreeter(client *cells.ClientState, jobs job.Group, log *slog.Logger, pods resource.Resource[*corev1.Pod]) {
	if !client.IsEnabled() {
		log.Info("Greeting no pods", "error", client.Err())
		return // nothing subscribes, so the resource requests nothing
	}
	registerGreeter(jobs, log, pods)
}

// Pods whose store is compared with the server every hour, by metadata.
var checkedPods = cells.Resource[*corev1.Pod](cells.With(
	resource.WithSettings(informer.Settings{ResyncInterval: time.Hour, CheckMetadata: true})))
