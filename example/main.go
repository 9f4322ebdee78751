// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Example is a hive application that follows services and the pods that each service
// selects, and prints changes. It is made to be read and copied.
//
// Each file holds one idea:
//
//	main.go      the hive, its command line and its shell
//	follow.go    a consumer of the events of two resources
//	join.go      which service selects which pods
//	health.go    the health that the cells report
//	page.go      a page about the resources
//	output.go    how changes are shown: table.go, blocks.go, live.go, jsonl.go
//	demo.go      an API server for a demonstration, with the workload in workload.go
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/job"
	"github.com/cilium/hive/shell"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/internal/cli"
)

func main() {
	if err := newCommand(os.Stdout, os.Stderr).Execute(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// loggerDefaults log less than the defaults of cells, since users look at the table.
var loggerDefaults = cells.LoggerConfig{LogLevel: "warn", LogFormat: "text", LogOutput: "stderr"}

// application has all cells except the client: [cells.Client], or in tests
// [cells.FakeClient].
func application(out io.Writer, demo *demoServer) cell.Cell {
	return cell.Group(
		cells.LoggerWith(loggerDefaults),
		healthCell,
		job.Cell,             // for the shell
		shell.ServerCell(""), // off, unless a flag sets the path of its socket
		cells.ScriptCommands,

		cells.Resource[*corev1.Service](),
		cells.Resource[*corev1.Pod](),

		cell.Provide(
			func() stdout { return out },
			func() *demoServer { return demo },
		),
		followCell,
		demoCell,
		runForCell,
	)
}

const description = `Follows services and the pods that each service selects, and prints changes. On a
terminal it keeps one table up to date. To a file or a pipe it writes blocks of
text. With --output json it writes lines of JSON.

It reads from a cluster if --k8s-kubeconfig, --k8s-api-server or the environment
variable KUBECONFIG is set, or if it runs in a pod. It must be allowed to list
and watch services and pods. Without a cluster it starts its own API server with
a small demonstration workload. Ctrl-C ends it.

It serves a page that shows whether the resources are in sync, and prints its
address. --status-address sets the address.

While it cannot read services or pods, it shows the reason and retries. The log
goes to standard error. Below a table on a terminal it has only errors, unless
--log-level is set.`

const examples = `  example                                   watch the demonstration
  example --k8s-kubeconfig ~/.kube/config   follow a cluster
  example --output json | jq .change        print changes for programs
  example --run-for 20s > changes.txt       end after 20 seconds
  example hive                              show the cells of the application

  example --shell-sock-path /run/user/1000/example.sock
  example shell --shell-sock-path /run/user/1000/example.sock resources`

func newCommand(out, notes io.Writer) *cobra.Command {
	demo := &demoServer{}
	h := hive.NewWithOptions(cli.HiveOptions(), cells.Client, statusPage(notes), application(out, demo))
	cmd := &cobra.Command{
		Use:           "example",
		Short:         "Follow services and the pods that each of them selects",
		Long:          description,
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cli.IsTerminal(out) && !cmd.Flags().Changed("log-level") {
				quieten(h.Viper())
			}
			return run(h, demo, notes)
		},
	}
	h.RegisterFlags(cmd.Flags())
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	inspect := h.Command()
	inspect.PersistentPreRun = func(*cobra.Command, []string) {
		slog.SetDefault(cli.HiveLogger(h.Viper())) // hive's command logs to the default logger
	}
	inspect.Short = "Show the cells of the application and what they provide, without running it"
	cmd.AddCommand(inspect, newShell())
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

// newShell returns the command that connects to the shell of a running example. The shell
// has the commands of [cells.ScriptCommands].
func newShell() *cobra.Command {
	cmd := shell.ShellCmd("", "example> ", func(w io.Writer) {
		_, _ = fmt.Fprintln(w, `"help" lists the commands, and "help -v resource/list" describes one. Ctrl-D ends the shell.`)
	})
	cmd.Short = "Connect to a running example, and see what it follows"
	if err := cmd.MarkFlagRequired(shell.ShellSockPathName); err != nil {
		panic(err) // there is no such flag
	}
	return cmd
}

// quieten drops warnings that would overwrite the table, unless the environment sets a
// level.
func quieten(v *viper.Viper) {
	if v.GetString("output") == outputTable && v.GetString("log-level") == loggerDefaults.LogLevel {
		v.Set("log-level", "error")
	}
}

// run runs the hive until a signal. Without a cluster it runs the demonstration around
// it.
func run(h *hive.Hive, demo *demoServer, notes io.Writer) (err error) {
	// hive.Run handles signals only after the start. This handles them from here on.
	ctx, stop := signal.NotifyContext(context.Background(), cli.EndSignals()...)
	defer stop()

	if !configured(h.Viper()) {
		if err := validate(h.Viper()); err != nil {
			return err
		}
		if err := demo.start(ctx, notes); err != nil {
			if ctx.Err() != nil {
				return nil // a signal during the start
			}
			return err
		}
		defer func() { err = errors.Join(err, demo.stop(notes)) }()
		h.Viper().Set("k8s-kubeconfig", demo.cluster.Kubeconfig())
	}
	defer context.AfterFunc(ctx, func() { h.Shutdown() })()
	return cli.Explain(h.Run(cli.HiveLogger(h.Viper())))
}

// configured reports whether a flag, the environment or a pod names a cluster, also if
// it is wrong. It is true for invalid flags of the client, too: the hive reports them,
// and the demonstration need not start.
func configured(v *viper.Viper) bool {
	return cells.ClientConfig{
		K8sKubeconfig:     v.GetString("k8s-kubeconfig"),
		K8sContext:        v.GetString("k8s-context"),
		K8sAPIServer:      v.GetString("k8s-api-server"),
		K8sClientQPS:      float32(v.GetFloat64("k8s-client-qps")),
		K8sClientBurst:    v.GetInt("k8s-client-burst"),
		K8sRequestTimeout: v.GetDuration("k8s-request-timeout"),
		K8sConnectTimeout: v.GetDuration("k8s-connect-timeout"),
	}.Configured()
}

// validate finds mistakes before the demonstration starts. The hive finds them only
// later.
func validate(v *viper.Viper) error {
	_, err := cells.NewLogger(cells.LoggerConfig{LogLevel: v.GetString("log-level"), LogFormat: v.GetString("log-format")})
	return errors.Join(err,
		outputConfig{Output: v.GetString("output")}.validate(),
		runForConfig{RunFor: v.GetDuration("run-for")}.validate())
}
