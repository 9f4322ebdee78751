// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"

	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/fakeapi"
)

// clientCommandsOf returns the commands for the API server of one cluster.
func clientCommandsOf(c clientCommands, fake *fakeapi.Server) map[string]script.Cmd {
	cmds := map[string]script.Cmd{
		"k8s/add":    c.add(),
		"k8s/update": c.update(),
		"k8s/apply":  c.apply(),
		"k8s/delete": c.delete(),
		"k8s/get":    c.get(),
		"k8s/list":   c.list(),
	}
	if fake != nil {
		addFakeCommands(cmds, fake)
	}
	return cmds
}

// clusterCommands returns commands with the flag --cluster. Without clusters that have a
// name, they are those of the unnamed one.
func clusterCommands(clusters Clusters, unnamed dynamic.Interface, fake *fakeapi.Server) map[string]script.Cmd {
	sets := map[string]map[string]script.Cmd{} // by cluster
	if clusters.Unnamed != nil {
		sets[""] = clientCommandsOf(clientCommands{unnamed, clusters.Unnamed.mapper}, fake)
	}
	if len(clusters.All) == 0 {
		return sets[""]
	}
	for _, c := range clusters.All {
		sets[c.Name] = clientCommandsOf(clientCommands{c.Dynamic, c.Mapper}, c.fake)
	}
	all := map[string]script.Cmd{}
	for _, set := range sets {
		for name, cmd := range set {
			all[name] = inClusters(*cmd.Usage(), clusters, func(cluster string) (script.Cmd, error) {
				cmd := sets[cluster][name]
				if cmd == nil {
					return nil, fmt.Errorf("%s: cluster %q is not an API server in memory", name, cluster)
				}
				return cmd, nil
			})
		}
	}
	return all
}

// inClusters returns a command that runs the command of a cluster.
func inClusters(usage script.CmdUsage, clusters Clusters, of func(cluster string) (script.Cmd, error)) script.Cmd {
	flags := usage.Flags
	usage.Flags = func(fs *pflag.FlagSet) {
		fs.String("cluster", "", fmt.Sprintf("The cluster, one of %q; default: the one without a name, or the only one", clusters.Names()))
		if flags != nil {
			flags(fs)
		}
	}
	complete := usage.AutocompleteFlag
	usage.AutocompleteFlag = func(s *script.State, args []string, flag, current string) []string {
		switch {
		case flag == "cluster":
			return completeAny(clusters.Names)(s, nil, current)
		case complete != nil:
			return complete(s, args, flag, current)
		}
		return nil
	}
	return script.Command(usage, func(s *script.State, args ...string) (script.WaitFunc, error) {
		name, _ := s.Flags.GetString("cluster")
		switch {
		case name != "":
			if _, err := clusters.Get(name); err != nil {
				return nil, fmt.Errorf("--cluster: %w", err)
			}
		case clusters.Unnamed != nil:
		case len(clusters.All) == 1:
			name = clusters.All[0].Name
		default:
			return nil, fmt.Errorf("%w: want --cluster, one of %q", script.ErrUsage, clusters.Names())
		}
		cmd, err := of(name)
		if err != nil {
			return nil, err
		}
		return cmd.Run(s, args...)
	})
}
