// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// Exit codes of the wait command. A signal adds its number to 128: 130 for Ctrl-C.
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

// exitCode returns the exit code for an error of a command, and whether to print the error.
func exitCode(err error) (code int, report bool) {
	var exit *exitError
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &exit):
		return exit.code, !exit.said
	}
	return 1, true
}

const waitDescription = `Waits until all objects in the files are in the state that their spec asks for
(Current, by the rules of kstatus). With --for deleted it waits until the objects that
exist at the beginning are deleted. Objects that are created under their names do not
count. It does not apply the files. It must be allowed to get the objects, and is
faster if it is allowed to list and watch them.

On a terminal it keeps a line for each object up to date. Elsewhere it prints a line
for each change. It shows objects that it cannot read and kinds that are not
installed, and waits for them too.

Exit codes: 0 success; 1 an object is Failed; 2 timeout; 3 wrong use, wrong input or
no server; 130 Ctrl-C.`

const waitExamples = `  example wait -f deploy/ --timeout 10m       until all are Current, or one is Failed
  kubectl delete -f app.yaml --wait=false; example wait -f app.yaml --for deleted`

// waitOptions holds the flags of the command itself. They are no flags of the hive,
// which would read them from environment variables such as NAMESPACE and TIMEOUT.
type waitOptions struct {
	files     []string
	until     string
	timeout   time.Duration
	failFast  bool
	jobs      string
	namespace string
}

const (
	untilCurrent  = "current"
	untilDeleted  = "deleted"
	jobsCompleted = "completed"
	jobsStarted   = "started"
)

func (o *waitOptions) flags(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&o.files, "filename", "f", nil, "`FILE` of manifests in YAML or JSON, a directory of such files, or - for standard input; can be repeated")
	flags.StringVar(&o.until, "for", untilCurrent, "What to wait for: current or deleted")
	flags.DurationVar(&o.timeout, "timeout", 5*time.Minute, "How long to wait; 0: forever")
	flags.BoolVar(&o.failFast, "fail-fast", true, "End as soon as an object is Failed, without waiting for it to recover; no effect with --for deleted")
	flags.StringVar(&o.jobs, "jobs", jobsCompleted, "When a Job is Current: completed or started")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "Namespace of objects without one; default: that of the kubeconfig context, or \"default\"")
}

func (o *waitOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.files) == 0 {
		bad("-f is missing: name a file, such as -f app.yaml")
	}
	if o.until != untilCurrent && o.until != untilDeleted {
		bad("--for=%s: want %s or %s", o.until, untilCurrent, untilDeleted)
	}
	if o.timeout < 0 {
		bad("--timeout=%s: must not be negative", o.timeout)
	}
	if o.jobs != jobsCompleted && o.jobs != jobsStarted {
		bad("--jobs=%s: want %s or %s", o.jobs, jobsCompleted, jobsStarted)
	}
	if o.namespace != "" {
		if err := validateNamespace(o.namespace); err != nil {
			bad("--namespace=%w", err)
		}
	}
	return errors.Join(errs...)
}

// waitProgram is the wait command.
type waitProgram struct {
	waitOptions
	hive  *hive.Hive
	rules *status.Rules // not read before the hive starts
	out   io.Writer
	size  func() (width, height int) // of the terminal; nil if out is not a terminal
	parts waitParts
}

// waitParts holds the parts of the hive that the command uses.
type waitParts struct {
	cell.In

	Client    *cells.ClientState
	Config    *rest.Config
	Discovery discovery.DiscoveryInterface
	Engine    *status.Engine
}

// newWait returns the command. The client is [cells.Client], or in tests that of a
// [fakeapi.Server].
func newWait(client cell.Cell, out io.Writer) *waitProgram {
	p := &waitProgram{rules: &status.Rules{}, out: out}
	if isTerminal(out) {
		p.size = sizeOf(out)
	}
	p.hive = hive.NewWithOptions(options(),
		// Problems are shown with the objects.
		cells.LoggerWith(cells.LoggerConfig{LogLevel: "error", LogFormat: "text", LogOutput: "stderr"}),
		client,
		cells.StatusWith(status.Config{
			Rules:   p.rules,
			Backoff: informer.Backoff{Max: 10 * time.Second}, // somebody is waiting
		}),
		cell.Invoke(func(parts waitParts) { p.parts = parts }),
	)
	return p
}

func (p *waitProgram) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "wait -f FILE",
		Short:   "Wait until the objects of manifests are Current or deleted",
		Long:    waitDescription,
		Example: waitExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exitError{code: exitUse, err: fmt.Errorf("unexpected argument %q: name files with -f", args[0])}
			}
			return nil
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ids, err := p.read(cmd.InOrStdin())
			if err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return p.wait(ctx, ids)
		},
	}
	p.flags(cmd.Flags())
	p.hive.RegisterFlags(cmd.Flags())
	cmd.Flags().SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "kubeconfig" { // the name in kubectl
			name = "k8s-kubeconfig"
		}
		return pflag.NormalizedName(name)
	})
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exitError{code: exitUse, err: fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	return cmd
}

// untilSignal returns a context that ends with a signal, which is then its cause.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endSignals()...)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		select {
		case s := <-signals:
			cancel(interrupted{s})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-ended
	}
}

// read returns the IDs of the objects to wait for.
func (p *waitProgram) read(stdin io.Reader) ([]status.ID, error) {
	err := p.validate()
	if err != nil {
		return nil, &exitError{code: exitUse, err: err}
	}
	namespace := p.namespace
	if namespace == "" {
		namespace = contextNamespace(p.hive.Viper())
	}
	ids, err := readManifests(p.files, stdin, namespace)
	if err != nil {
		return nil, &exitError{code: exitUse, err: err}
	}
	return ids, nil
}

// contextNamespace returns the namespace of the kubeconfig context that the client of
// the hive uses, or "default".
func contextNamespace(v *viper.Viper) string {
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: v.GetString("k8s-kubeconfig")}
	if rules.ExplicitPath == "" {
		rules.Precedence = filepath.SplitList(os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	}
	// The client reports a wrong kubeconfig in better words.
	loaded, err := rules.Load()
	if err != nil {
		return "default"
	}
	config := clientcmd.NewNonInteractiveClientConfig(*loaded, v.GetString("k8s-context"), &clientcmd.ConfigOverrides{}, nil)
	namespace, _, err := config.Namespace()
	if err != nil {
		return "default"
	}
	return namespace
}

// wait runs the hive until the wait ends. The error is nil if the condition is met, and
// otherwise an [*exitError].
func (p *waitProgram) wait(ctx context.Context, ids []status.ID) error {
	if len(ids) == 0 {
		if err := writeProgress(p.out, "the files of -f have no objects: nothing to wait for\n"); err != nil {
			return &exitError{code: exitUse, err: err}
		}
		return nil
	}
	if p.jobs == jobsCompleted {
		p.rules.Jobs = status.JobCompleted
	}
	log := hiveLogger(p.hive.Viper())
	starting, cancel := context.WithTimeout(context.Background(), options().StartTimeout)
	defer cancel()
	if err := p.hive.Start(log, starting); err != nil {
		return &exitError{code: exitUse, err: explain(err)}
	}
	err := p.follow(ctx, ids)
	stopping, cancel := context.WithTimeout(context.Background(), options().StopTimeout)
	defer cancel()
	if stopErr := p.hive.Stop(log, stopping); stopErr != nil && err == nil {
		return &exitError{code: exitUse, err: stopErr}
	}
	return err
}

// follow runs the waiter until it ends or ctx does.
func (p *waitProgram) follow(ctx context.Context, ids []status.ID) error {
	if err := p.parts.Client.Err(); err != nil {
		return &exitError{code: exitUse, err: err}
	}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, errTimeout)
		defer cancel()
	}
	w := p.waiter(ids)
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(outputGrace):
		code := exitTimeout
		if signal := (interrupted{}); errors.As(context.Cause(ctx), &signal) {
			code = signal.code()
		}
		return &exitError{code: code, err: errBlocked}
	}
}

// waiter returns the waiter. The hive must have started.
func (p *waitProgram) waiter(ids []status.ID) *waiter {
	return &waiter{
		server:   p.parts.Discovery,
		host:     p.parts.Config.Host,
		engine:   p.parts.Engine,
		board:    newBoard(ids, p.until == untilDeleted),
		printer:  p.printer(),
		failFast: p.failFast,
	}
}

func (p *waitProgram) printer() progressPrinter {
	if p.size != nil {
		return newScreenPrinter(p.out, p.size, os.Getenv("NO_COLOR") == "")
	}
	return newLinePrinter(p.out)
}
