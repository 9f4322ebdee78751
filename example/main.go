// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Example is a hive application that follows services and the pods that each of
// them selects, and prints what changes.
//
// Each file holds one idea:
//
//	main.go      the hive and its command line
//	follow.go    a consumer of events of two resources
//	join.go      which service selects which pods
//	health.go    what the parts of the application say of themselves
//	output.go    which way to show it all: table.go, blocks.go, live.go, jsonl.go
//	demo.go      an API server for those who have none, and in workload.go what
//	             goes on there
//	wait.go      another command: waiting for the objects of manifests
//	manifest.go  which objects those are
//	waiter.go    a consumer of their statuses
//	board.go     how far they are, shown by waitlines.go or waitscreen.go
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/cobra"
	"github.com/spf13/viper"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
)

func main() {
	err := newCommand(os.Stdout, os.Stderr).Execute()
	code, tell := exitCode(err)
	if tell {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
	}
	os.Exit(code)
}

// loggerDefaults log less than usual: the table is what people want to see.
var loggerDefaults = cells.LoggerConfig{LogLevel: "warn", LogFormat: "text", LogOutput: "stderr"}

// application is everything but where it reads from: [cells.Client], or in tests
// [cells.FakeClient].
func application(out io.Writer, demo *demoServer) cell.Cell {
	return cell.Group(
		cells.LoggerWith(loggerDefaults),
		healthCell,

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

const description = `Follows services and the pods that each of them selects, and prints what changes:
a table that is kept up to date on a terminal, blocks of text in a file or a
pipe, or lines of JSON.

Without a cluster to look at it starts an API server of its own, with a small
demonstration workload. It looks at a cluster if --k8s-kubeconfig,
--k8s-api-server or the environment variable KUBECONFIG is set, or if it runs in
a pod; there it only reads, and needs to be allowed to list and watch services
and pods. Ctrl-C ends it.

What keeps it from seeing services or pods is shown with them, and it goes on as
soon as it can. The log goes to standard error, while a table is kept up to date
on a terminal only from level error on, unless --log-level says otherwise.`

const examples = `  example                                   watch the demonstration
  example --k8s-kubeconfig ~/.kube/config   look at a cluster
  example --output json | jq .change        changes, for programs
  example --run-for 20s > changes.txt       end by itself
  example hive                              show what the application is made of

  example wait -f deploy/ --timeout 10m     wait until what is deployed is up
  example wait -f app.yaml --for deleted    wait until it is gone`

// options are those of hive. The limits bound how long Ctrl-C may take.
func options() hive.Options {
	opts := hive.DefaultOptions()
	opts.StartTimeout = 10 * time.Second // nothing in here waits for the API server
	opts.StopTimeout = 2 * time.Second
	return opts
}

func newCommand(out, notes io.Writer) *cobra.Command {
	demo := &demoServer{}
	h := hive.NewWithOptions(options(), cells.Client, application(out, demo))
	cmd := &cobra.Command{
		Use:           "example",
		Short:         "Follow services and the pods that each of them selects",
		Long:          description,
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if isTerminal(out) && !cmd.Flags().Changed("log-level") {
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
		slog.SetDefault(hiveLogger(h.Viper())) // the one that hive's command uses
		if !configured(h.Viper()) {
			// Nothing is asked of it. Without any the resources would be disabled, and
			// their hooks missing from what is shown.
			h.Viper().Set("k8s-api-server", "https://demo.invalid")
		}
	}
	inspect.Short = "Show the cells of the application and what they provide, without running it"
	cmd.AddCommand(inspect, newWait(cells.Client, out).command())
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

// quieten leaves out the warnings that the table would be drawn over, unless the
// environment has set a level.
func quieten(v *viper.Viper) {
	if v.GetString("output") == outputTable && v.GetString("log-level") == loggerDefaults.LogLevel {
		v.Set("log-level", "error")
	}
}

// run runs the hive until a signal, and the server of the demonstration around it.
func run(h *hive.Hive, demo *demoServer, notes io.Writer) (err error) {
	// hive.Run heeds signals only once everything has started. These are heeded from
	// here to the end.
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()

	if !configured(h.Viper()) {
		if err := validate(h.Viper()); err != nil {
			return err
		}
		if err := demo.start(ctx, notes); err != nil {
			if ctx.Err() != nil {
				return nil // told to end while starting
			}
			return err
		}
		defer func() { err = errors.Join(err, demo.stop(notes)) }()
		h.Viper().Set("k8s-kubeconfig", demo.cluster.Kubeconfig())
	}
	defer context.AfterFunc(ctx, func() { h.Shutdown() })()
	return explain(h.Run(hiveLogger(h.Viper())))
}

// endSignals are the signals that end the program. That of a closed terminal is not
// one of them for those who started it with nohup.
func endSignals() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
}

// configured reports whether anything says which cluster to look at, right or
// wrong. Flags of the client that are wrong in themselves count, too: the hive says
// so, with no need for a demonstration.
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

// validate finds mistakes that the hive would find too, but only after the server
// of the demonstration was started for nothing.
func validate(v *viper.Viper) error {
	_, err := cells.NewLogger(cells.LoggerConfig{LogLevel: v.GetString("log-level"), LogFormat: v.GetString("log-format")})
	return errors.Join(err,
		outputConfig{Output: v.GetString("output")}.validate(),
		runForConfig{RunFor: v.GetDuration("run-for")}.validate())
}

// hiveLogger is what hive itself logs to. All that goes wrong in there is returned
// as an error as well, which main prints, so it is worth reading only for those who
// want to know more.
func hiveLogger(v *viper.Viper) *slog.Logger {
	cfg := cells.LoggerConfig{LogLevel: v.GetString("log-level"), LogFormat: v.GetString("log-format")}
	log, err := cells.NewLogger(cfg)
	if err != nil || !log.Enabled(context.Background(), slog.LevelInfo) {
		return slog.New(slog.DiscardHandler) // cells.Logger says what is wrong with the flags
	}
	return log
}

// explain takes away from an error what is of interest to the authors of a hive
// only.
func explain(err error) error {
	if populate := (hive.ErrPopulate{}); errors.As(err, &populate) {
		return errors.New(strings.TrimPrefix(populate.Error(), "failed to populate object graph: "))
	}
	return err
}
