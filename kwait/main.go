// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Kwait waits until Kubernetes objects are ready or deleted, and shows why they are not.
// README.md shows its use.
//
//	main.go       the command line
//	options.go    its flags
//	program.go    the hive: a client and a status engine
//	manifest.go   the objects in files
//	selection.go  the objects in arguments: TYPE/NAME, or TYPE with labels
//	goal.go       what to wait for
//	waiter.go     a consumer of statuses
//	board.go      the progress, printed by lines.go, screen.go or jsonl.go
//	why.go        the Pods and events behind an object that is not ready
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/cells"
)

func main() {
	err := newProgram(cells.Client, os.Stdout).command().Execute()
	code, report := exitCode(err)
	if report {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
	}
	os.Exit(code)
}

// Exit codes. A signal adds its number to 128: 130 for Ctrl-C.
const (
	exitFailed  = 1 // an object is Failed
	exitTimeout = 2 // the wait has timed out
	exitUse     = 3 // wrong use, wrong input, or no server
)

// exitError is an error with an exit code.
type exitError struct {
	code int
	err  error
	said bool // the output has it already
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// useError returns an [*exitError] for wrong use, wrong input, or no server.
func useError(err error) error { return &exitError{code: exitUse, err: err} }

// exitCode returns the exit code for an error of the command, and whether to print the
// error.
func exitCode(err error) (code int, report bool) {
	var exit *exitError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &exit):
		return exit.code, !exit.said
	}
	return exitUse, true
}

const description = `Waits until all objects are in the state that their spec asks for: Current, by rules
close to those of kstatus. With --for condition=NAME it waits for a condition, as
kubectl wait does, and ends when an object is Failed. With --for deleted it waits until
the objects that exist at the beginning are deleted; objects that are created under
their names do not count.

The objects are those in the files of -f, or arguments as of kubectl: TYPE/NAME, TYPE
NAME, or TYPE with -l or --all. With -l and --all, the objects that exist at the
beginning are meant.

On a terminal it keeps a line for each object up to date. Elsewhere it prints a line
for each change, with --output json as a JSON object. At the end it shows for each
object that is not ready the Pods that are not ready, and the last Warning events.
Objects that cannot be read, and kinds in files that are not installed, are shown and
waited for.

It must be allowed to get the objects, and is faster if it is allowed to list and watch
them and their ReplicaSets and Pods. To show events it lists them.

The cluster is that of --kubeconfig and --context, the environment variable KUBECONFIG,
~/.kube/config, or the pod that it runs in.

Exit codes: 0 success; 1 an object is Failed; 2 timeout; 3 wrong use, wrong input or
no server; 130 Ctrl-C.`

const examples = `  kwait deployment/web                        until it is Current, or Failed
  kwait -f deploy/ -n shop --timeout 10m      until all objects in the files are
  kwait deployments,jobs -l app=web -n shop   until all objects with the label are
  kwait pod/web-0 --for condition=Ready       until the condition is True
  kwait -f app.yaml --for deleted             until all are deleted`

func (p *program) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "kwait [TYPE/NAME ... | TYPE NAME ... | TYPE -l SELECTOR | -f FILE]",
		Short:         "Wait until Kubernetes objects are ready or deleted",
		Long:          description,
		Example:       examples,
		Version:       version(),
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), args, cmd.InOrStdin())
		},
	}
	p.flags(cmd.Flags())
	p.hive.RegisterFlags(cmd.Flags())
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "kubeconfig", "context": // the names in kubectl
			name = "k8s-" + name
		}
		return pflag.NormalizedName(name)
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return useError(fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath()))
	})
	return cmd
}

// version returns the version that go install was called with.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(unknown)"
}
