// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/script"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// ScriptCommands provides commands that show what the hive follows, for txtar tests
// (hive/script) and for the shell of a running program (hive/shell):
//
//   - resources, resource/show: what [Resources] has
//   - resource/list, resource/get, resource/events: the objects of a resource
//   - resource/wait-synced, resource/resync
//   - resource/record: a recording for a replay, see package record
//   - status/wait, if the hive has [Status] that is not private
//
// "help -v resource/get" and the like have the details. The commands make no request, with
// these exceptions: a flag starts an unused resource, resource/resync and resource/record make
// a resource list again, and status/wait watches. They never show the data of Secrets.
var ScriptCommands = cell.Module(
	"k8s-script", "Script commands for Kubernetes resources",

	cell.Provide(newScriptCommands),
)

// ScriptClientCommands provides commands that read and write objects of the API server with
// the client of the hive, named as those of Cilium: k8s/add, k8s/update, k8s/apply,
// k8s/delete, k8s/get and k8s/list. They are for tests. In the shell of a running program
// they have all permissions of the program.
//
// If the hive has a [fakeapi.Server], as with [FakeClient], there are also k8s/forbid,
// k8s/allow, k8s/disconnect, k8s/expire, k8s/summary and k8s/resources.
//
// If the hive has clusters with a name (see [NamedClients]), the commands have the flag
// --cluster. Its default is the cluster without a name, or the only one.
var ScriptClientCommands = cell.Module(
	"k8s-script-client", "Script commands for the API server",

	cell.Provide(newScriptClientCommands),
)

func newScriptCommands(in struct {
	cell.In

	Clusters Clusters
	Mapper   meta.ResettableRESTMapper `optional:"true"`
	Engine   *status.Engine            `optional:"true"`
	OfEngine statusMapper              `optional:"true"`
}) hive.ScriptCmdsOut {
	c := resourceCommands{in.Clusters.Resources()}
	cmds := map[string]script.Cmd{
		"resources":            c.all(),
		"resource/show":        c.show(),
		"resource/list":        c.list(),
		"resource/get":         c.get(),
		"resource/events":      c.events(),
		"resource/wait-synced": c.waitSynced(),
		"resource/resync":      c.resync(),
		"resource/record":      c.record(),
	}
	if in.OfEngine.ResettableRESTMapper != nil {
		in.Mapper = in.OfEngine
	}
	if in.Engine != nil && in.Mapper != nil {
		cmds["status/wait"] = statusWaitCommand(in.Engine, in.Mapper)
	}
	return hive.NewScriptCmds(cmds)
}

func newScriptClientCommands(in struct {
	cell.In

	Clusters Clusters
	Dynamic  dynamic.Interface `optional:"true"`
	Fake     *fakeapi.Server   `optional:"true"`
}) hive.ScriptCmdsOut {
	return hive.NewScriptCmds(clusterCommands(in.Clusters, in.Dynamic, in.Fake))
}

// scriptTimeout is the default of --timeout, as in the commands of statedb.
const scriptTimeout = 5 * time.Second

func timeoutFlag(fs *pflag.FlagSet, usage string) {
	fs.Duration("timeout", scriptTimeout, usage)
}

// withTimeout returns a context that ends with the script, and after --timeout.
func withTimeout(s *script.State) (context.Context, context.CancelFunc) {
	timeout, _ := s.Flags.GetDuration("timeout")
	return context.WithTimeoutCause(s.Context(), timeout, fmt.Errorf("timed out after %s", timeout))
}

// failure returns the error of a command. The engine takes the end of a context for the end
// of the script, which the end of a timeout is not.
func failure(s *script.State, err error) error {
	if s.Context().Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return errors.New(err.Error())
	}
	return err
}

// wantArgs fails with the usage of a command.
func wantArgs(args []string, what ...string) error {
	if len(args) == len(what) {
		return nil
	}
	return fmt.Errorf("%w: want %s, got %q", script.ErrUsage, strings.Join(what, " and "), args)
}

// completeFirst completes the first argument.
func completeFirst(names func() []string) func(*script.State, []string, string) []string {
	return func(_ *script.State, before []string, current string) []string {
		if len(before) > 0 {
			return nil
		}
		return completeAny(names)(nil, nil, current)
	}
}

// completeAny completes every argument.
func completeAny(names func() []string) func(*script.State, []string, string) []string {
	return func(_ *script.State, _ []string, current string) []string {
		matching := slices.DeleteFunc(names(), func(name string) bool { return !strings.HasPrefix(name, current) })
		slices.Sort(matching)
		return matching
	}
}
