// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"os"
	"strings"

	"github.com/cilium/hive/script"

	"github.com/apiary-go/apiary/fakeapi"
)

// addFakeCommands adds the commands of an API server in memory.
func addFakeCommands(cmds map[string]script.Cmd, api *fakeapi.Server) {
	cmds["k8s/forbid"] = permissionCommand("Make the API server refuse requests as forbidden", api.Forbid,
		"Open watches continue: 'k8s/disconnect' ends them.")
	cmds["k8s/allow"] = permissionCommand("Undo k8s/forbid with the same arguments", api.Allow,
		"'k8s/allow * *' undoes all.")
	cmds["k8s/disconnect"] = faultCommand("End all watches", api.Disconnect,
		"Clients can open new ones, and resume where they were.")
	cmds["k8s/expire"] = faultCommand("End all watches, and make the API server forget their versions", api.Expire,
		"Clients must list again.")
	cmds["k8s/summary"] = summaryCommand(api)
	cmds["k8s/resources"] = script.Command(
		script.CmdUsage{Summary: "List which resources the API server has"},
		func(*script.State, ...string) (script.WaitFunc, error) {
			var b strings.Builder
			for _, gvr := range api.Resources() {
				b.WriteString(resourceName(gvr) + "\n")
			}
			return func(*script.State) (stdout, stderr string, err error) { return b.String(), "", nil }, nil
		},
	)
}

func permissionCommand(summary string, do func(verb, resource string) error, detail string) script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: summary,
			Args:    "verb resource",
			Detail: append([]string{
				"The verb is get, list, watch, create, update, patch, delete, or * for all. The resource",
				"can be *, too. " + detail,
			}, kindHelp...),
		},
		func(_ *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args, "a verb", "a resource"); err != nil {
				return nil, err
			}
			return nil, do(args[0], args[1])
		},
	)
}

func faultCommand(summary string, do func(), detail string) script.Cmd {
	return script.Command(
		script.CmdUsage{Summary: summary, Detail: []string{detail}},
		func(_ *script.State, args ...string) (script.WaitFunc, error) {
			if err := wantArgs(args); err != nil {
				return nil, err
			}
			do()
			return nil, nil
		},
	)
}

func summaryCommand(api *fakeapi.Server) script.Cmd {
	return script.Command(
		script.CmdUsage{
			Summary: "Show how many objects the API server has of each resource",
			Args:    "[file]",
			Detail:  []string{"Writes to the file instead of stdout. Resources without objects are left out."},
		},
		func(s *script.State, args ...string) (script.WaitFunc, error) {
			if len(args) > 1 {
				return nil, fmt.Errorf("%w: want one file", script.ErrUsage)
			}
			var b strings.Builder
			counts := api.Summary()
			for _, gvr := range api.Resources() {
				if n := counts[gvr]; n > 0 {
					fmt.Fprintf(&b, "- %s: %d\n", resourceName(gvr), n)
				}
			}
			if len(args) == 1 {
				return nil, os.WriteFile(s.Path(args[0]), []byte(b.String()), 0o600)
			}
			return func(*script.State) (stdout, stderr string, err error) { return b.String(), "", nil }, nil
		},
	)
}
