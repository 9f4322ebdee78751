// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
)

// NamedClients provides the clients of several clusters, each under a name. It is for
// programs that follow more than one cluster:
//
//	h := hive.New(
//		cells.NamedClients("west", "east"),
//		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) WestPods { return r }, cells.OfCluster("west")),
//		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) EastPods { return r }, cells.OfCluster("east")),
//	)
//
// [OfCluster] binds a resource, mirror, push or status engine to a cluster. [Clusters] has
// the clients for constructors. [Client] can be in the same hive: its cluster has no name,
// and everything without OfCluster uses it.
//
// Each cluster has the flags of [ClientConfig] with its name in front, such as
// --west-k8s-kubeconfig, and environment variables by the same rule. A named cluster is
// never the one that the pod runs in, and reads KUBECONFIG only if its own flag
// --west-k8s-context is set. So two clusters without configuration are not the same one by
// accident: they are disabled, as [Client] is.
//
// Clusters share no connection, rate limit or discovery. Lists of all clusters share the
// list budget of the process. What fails in one cluster does not delay another one.
//
// The names of what is bound to a cluster begin with the name of the cluster, in logs,
// health, metrics and on the status page: "west/Pod.v1". Logs have the attribute cluster as
// well. If a hive has a named cluster, all its metrics have the label cluster, which is empty
// for the cluster without a name.
//
// A hive can have one NamedClients, and any number of [NamedClientFrom] and
// [NamedFakeClient]. A name is a DNS label. Construction fails if a name is invalid or
// exists twice.
func NamedClients(names ...string) cell.Cell {
	flags := clusterFlags{}
	for _, name := range names {
		flags[name] = nil
	}
	return cell.Module(
		"k8s-clients", "Kubernetes clients of several clusters",

		cell.Config(flags),
		cell.Provide(func(lc cell.Lifecycle, values clusterFlags) (clusterOut, error) {
			var all clusterOut
			for _, name := range names {
				source, err := values.source(name)
				if err != nil {
					return clusterOut{}, fmt.Errorf("cluster %s: %w", name, err)
				}
				c, err := newCluster(name, nil, func() (clientOut, error) { return source.client(lc) })
				if err != nil {
					return clusterOut{}, err
				}
				all.Clusters = append(all.Clusters, c)
			}
			return all, nil
		}),
		cell.Invoke(Clusters.check),
	)
}

// NamedClientFrom is [ClientFrom] for a cluster with a name. See [NamedClients].
func NamedClientFrom(name string, config *rest.Config) cell.Cell {
	return namedClient(name, nil, func(lc cell.Lifecycle) (clientOut, error) {
		if config == nil {
			return clientOut{}, errors.New("cells.NamedClientFrom: config is nil: give a *rest.Config, or use cells.NamedClients, which reads flags")
		}
		return startClient(lc, config, "the constructor of cluster "+name)
	})
}

// NamedFakeClient replaces [NamedClients] and [NamedClientFrom] in tests: the cluster with
// this name is an API server in memory. Its watches end when the hive stops.
func NamedFakeClient(name string, api *fakeapi.Server) cell.Cell {
	return namedClient(name, api, func(lc cell.Lifecycle) (clientOut, error) {
		if api == nil {
			return clientOut{}, errors.New("cells.NamedFakeClient: the server is nil: give fakeapi.New()")
		}
		return newFakeClient(lc, api)
	})
}

func namedClient(name string, fake *fakeapi.Server, make func(cell.Lifecycle) (clientOut, error)) cell.Cell {
	return cell.Module(
		moduleID("client-"+name), "Kubernetes clients of a cluster",

		cell.Provide(func(lc cell.Lifecycle) (clusterOut, error) {
			c, err := newCluster(name, fake, func() (clientOut, error) { return make(lc) })
			return clusterOut{Clusters: []*Cluster{c}}, err
		}),
		cell.Invoke(Clusters.check),
	)
}

// Cluster has the clients of a cluster with a name. They are those of [Client].
type Cluster struct {
	Name       string
	State      *ClientState
	Config     *rest.Config
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Mapper     meta.ResettableRESTMapper

	fake *fakeapi.Server // nil if the cluster is real
}

func newCluster(name string, fake *fakeapi.Server, make func() (clientOut, error)) (*Cluster, error) {
	if err := checkClusterName(name); err != nil {
		return nil, err
	}
	out, err := make()
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	out.State.cluster = name
	return &Cluster{
		Name: name, State: out.State, Config: out.Config, Kubernetes: out.Kubernetes, Dynamic: out.Dynamic,
		Metadata: out.Metadata, Discovery: out.Discovery, Mapper: out.Mapper, fake: fake,
	}, nil
}

// checkClusterName checks a name, which is a part of names of flags, modules and metrics.
func checkClusterName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("cluster %q: the name is invalid: %s", name, strings.Join(problems, "; "))
	}
	return nil
}

// clusterOut adds clusters to [Clusters].
type clusterOut struct {
	cell.Out

	Clusters []*Cluster `group:"apiary-clusters,flatten"`
}

// Clusters is a parameter of constructors that has the clusters of the hive:
//
//	cell.Invoke(func(clusters cells.Clusters) error {
//		west, err := clusters.Get("west")
//		if err != nil {
//			return err
//		}
//		db.West = west.Kubernetes
//		…
//	})
//
// Every hive has it, also one without clusters that have a name.
type Clusters struct {
	cell.In

	// All are the clusters that have a name. Hive does not order them.
	All []*Cluster `group:"apiary-clusters"`

	// Unnamed is the state of the client without a name, and nil if the hive has none of
	// [Client], [ClientFrom] and [FakeClient].
	Unnamed *ClientState `optional:"true"`
}

// Names returns the names, ordered.
func (c Clusters) Names() []string {
	names := []string{}
	for _, cluster := range c.All {
		names = append(names, cluster.Name)
	}
	slices.Sort(names)
	return names
}

// Get returns the cluster with this name. If there is none, the error lists the names.
func (c Clusters) Get(name string) (*Cluster, error) {
	for _, cluster := range c.All {
		if cluster.Name == name {
			return cluster, nil
		}
	}
	if len(c.All) == 0 {
		return nil, fmt.Errorf("there is no cluster %q: the hive has none with a name: add cells.NamedClients", name)
	}
	return nil, fmt.Errorf("there is no cluster %q: want one of %q", name, c.Names())
}

// Resources returns everything that the hive follows, in all clusters. It is the *Resources
// that [Client] provides, if the hive has it.
func (c Clusters) Resources() *Resources {
	switch {
	case c.Unnamed != nil:
		return c.Unnamed.follows
	case len(c.All) > 0:
		first := slices.MinFunc(c.All, func(a, b *Cluster) int { return cmp.Compare(a.Name, b.Name) })
		return first.State.follows
	}
	return &Resources{}
}

// check fails if a name exists twice.
func (c Clusters) check() error {
	names := c.Names()
	for i, name := range names {
		if i > 0 && names[i-1] == name {
			return fmt.Errorf("the hive has two clusters %q: give each a name of its own; all names: %q", name, names)
		}
	}
	return nil
}

// client returns the client of a cluster, for what is listed in Resources.
func (c Clusters) client(name string) (*ClientState, error) {
	if name == "" && c.Unnamed == nil {
		return nil, fmt.Errorf("the hive has no client without a name, or its constructor lacks a dependency: "+
			"add cells.Client, or select a cluster with cells.OfCluster: %q", c.Names())
	}
	if name == "" {
		return c.Unnamed, nil
	}
	cluster, err := c.Get(name)
	if err != nil {
		return nil, fmt.Errorf("cells.OfCluster: %w", err)
	}
	state := *cluster.State
	state.follows = c.Resources()
	return &state, nil
}

// OfCluster reads from the cluster with this name, which [NamedClients], [NamedClientFrom] or
// [NamedFakeClient] provides. Default, also for "": the cluster of [Client]. Construction
// fails if the hive has no such cluster. A [Resource] of each T that is not [Private] is one for all
// clusters: use [ResourceAs], or [Private] in a module for each cluster.
func OfCluster(name string) Option {
	return func(o *options) { o.cluster = name }
}

// of returns p with the client and the logger of the cluster that o selects.
func (p Params) of(o *options) (Params, error) {
	client, err := p.Clusters.client(o.cluster)
	if err != nil {
		return p, err
	}
	p.Client = client
	if o.cluster != "" {
		p.Log = p.Log.With("cluster", o.cluster)
	}
	return p, nil
}

// named returns the name in logs, health and metrics of what the client reads.
func (s *ClientState) named(name string) string { return qualified(s.cluster, name) }

// qualified puts the name of a cluster in front of a name. An empty name stays so: it is an
// error elsewhere.
func qualified(cluster, name string) string {
	if cluster == "" || name == "" {
		return name
	}
	return cluster + "/" + name
}

// clusterFlags are the flags of [NamedClients]. The keys are the names of clusters until
// hive has read the flags, and then those of flags. Hive needs one type for all of them.
type clusterFlags map[string]any

// Flags implements cell.Flagger.
func (f clusterFlags) Flags(flags *pflag.FlagSet) {
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if checkClusterName(name) == nil { // the constructor returns the error
			(&clientSource{ClientConfig: DefaultClientConfig, cluster: name}).register(flags)
		}
	}
}

// source returns the configuration of one cluster.
func (f clusterFlags) source(name string) (clientSource, error) {
	s := clientSource{ClientConfig: DefaultClientConfig, cluster: name}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.register(flags)
	var err error
	flags.VisitAll(func(flag *pflag.Flag) {
		if value, ok := f[flag.Name]; ok {
			err = errors.Join(err, flags.Set(flag.Name, fmt.Sprint(value)))
		}
	})
	return s, err
}
