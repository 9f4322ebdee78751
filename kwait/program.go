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
	"slices"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/viper"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/status"
)

// program is the command.
type program struct {
	options
	hive  *hive.Hive
	rules *status.Rules // not read before the engine watches
	out   io.Writer
	size  func() (width, height int) // of the terminal; nil if out is not a terminal
	begin time.Time                  // of the wait
	parts parts
}

// parts holds the parts of the hive that the command uses.
type parts struct {
	cell.In

	Client    *cells.ClientState
	Config    *rest.Config
	Discovery discovery.DiscoveryInterface
	Metadata  metadata.Interface
	Kube      kubernetes.Interface
	Engine    *status.Engine
}

// newProgram returns the command. The client is [cells.Client], or in tests that of a
// [fakeapi.Server].
func newProgram(client cell.Cell, out io.Writer) *program {
	p := &program{out: out, rules: &status.Rules{
		ByKind: map[schema.GroupKind]status.Rule{},
		// The last state of a container is why it has restarted.
		Keep: map[schema.GroupKind][]string{podKind: {"status.containerStatuses", "status.initContainerStatuses"}},
	}}
	if cli.IsTerminal(out) {
		p.size = cli.SizeOf(out)
	}
	p.hive = hive.NewWithOptions(cli.HiveOptions(),
		// Problems are shown with the objects.
		cells.LoggerWith(cells.LoggerConfig{LogLevel: "error", LogFormat: "text", LogOutput: "stderr"}),
		client,
		cells.StatusWith(status.Config{
			Rules:   p.rules,
			Backoff: informer.Backoff{Max: 10 * time.Second}, // somebody is waiting
		}),
		cell.Invoke(func(parts parts) { p.parts = parts }),
	)
	return p
}

// run waits for the objects of the arguments and of the files. The error is nil if the
// goal is met, and otherwise an [*exitError].
func (p *program) run(ctx context.Context, args []string, stdin io.Reader) error {
	p.findKubeconfig()
	in, err := p.read(args, stdin)
	if err != nil {
		return useError(err)
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	return p.wait(ctx, in)
}

// findKubeconfig has the client use ~/.kube/config, as kubectl does, if nothing names
// another cluster.
func (p *program) findKubeconfig() {
	v := p.hive.Viper()
	if v.GetString("k8s-kubeconfig") != "" || v.GetString("k8s-api-server") != "" || os.Getenv(clientcmd.RecommendedConfigPathEnvVar) != "" {
		return
	}
	if _, err := os.Stat(clientcmd.RecommendedHomeFile); err == nil {
		v.Set("k8s-kubeconfig", clientcmd.RecommendedHomeFile)
	}
}

// untilSignal returns a context that ends with a signal, which is then its cause.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, cli.EndSignals()...)
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

// input is what to wait for, as far as it is known without the server.
type input struct {
	goal goal
	ids  []status.ID // of the files
	refs []reference // of the arguments
}

// read reads the flags, the arguments and the files.
func (p *program) read(args []string, stdin io.Reader) (input, error) {
	refs, err := parseReferences(args, p.selector != "" || p.all)
	if err := errors.Join(err, p.validate()); err != nil {
		return input{}, err
	}
	if len(p.files) == 0 && len(refs) == 0 {
		return input{}, errors.New("name an object, such as deployment/web, or a file with -f")
	}
	if p.namespace == "" {
		p.namespace = contextNamespace(p.hive.Viper())
	}
	in := input{refs: refs}
	in.goal, _ = parseGoal(p.until) // validate has parsed it
	in.goal.failReasons = p.failReasons
	in.ids, err = readManifests(p.files, stdin, p.namespace)
	return in, err
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

// wait runs the hive until the wait ends.
func (p *program) wait(ctx context.Context, in input) error {
	if len(in.ids) == 0 && len(in.refs) == 0 {
		return p.nothing("the files of -f have no objects")
	}
	p.begin = time.Now()
	p.apply(p.rules)
	log := cli.HiveLogger(p.hive.Viper())
	starting, cancel := context.WithTimeout(context.Background(), cli.HiveOptions().StartTimeout)
	defer cancel()
	if err := p.hive.Start(log, starting); err != nil {
		return useError(cli.Explain(err))
	}
	err := p.bounded(ctx, in)
	stopping, cancel := context.WithTimeout(context.Background(), cli.HiveOptions().StopTimeout)
	defer cancel()
	if stopErr := p.hive.Stop(log, stopping); stopErr != nil && err == nil {
		return useError(stopErr)
	}
	return err
}

// bounded runs follow until it ends, or until ctx ends and follow does not end soon.
func (p *program) bounded(ctx context.Context, in input) error {
	if err := p.parts.Client.Err(); err != nil {
		return useError(err)
	}
	if p.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, p.timeout, errTimeout)
		defer cancel()
	}
	ended := make(chan error, 1)
	go func() { ended <- p.follow(ctx, in) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(whyTime + cli.OutputGrace):
		code := exitTimeout
		if signal := (interrupted{}); errors.As(context.Cause(ctx), &signal) {
			code = signal.code()
		}
		return &exitError{code: code, err: cli.ErrBlocked}
	}
}

// follow finds the objects, and runs the waiter until it ends or ctx does.
func (p *program) follow(ctx context.Context, in input) error {
	ids, err := p.find(ctx, in)
	if err != nil {
		code, signal := exitUse, interrupted{}
		if errors.As(context.Cause(ctx), &signal) {
			code = signal.code()
		}
		return &exitError{code: code, err: err}
	}
	if len(ids) == 0 {
		if in.goal.deleted {
			return p.nothing("no objects match")
		}
		return useError(errors.New("no objects match"))
	}
	in.goal.apply(p.rules, ids)
	return p.waiter(ids, in.goal).run(ctx)
}

// find returns the IDs of all objects. It fails if the server does not answer.
func (p *program) find(ctx context.Context, in input) ([]status.ID, error) {
	if err := p.checkServer(ctx); err != nil {
		return nil, err
	}
	if len(in.refs) == 0 {
		return in.ids, nil
	}
	namespace := p.namespace
	if p.allNamespaces {
		namespace = ""
	}
	ids, err := newResolver(p.parts.Discovery, p.parts.Metadata, namespace, p.selector).resolve(ctx, in.refs)
	if ctx.Err() != nil {
		return nil, p.noAnswer(ctx, err)
	}
	all := slices.Clone(in.ids)
	for _, id := range ids {
		if !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all, err
}

// checkServer fails if the server does not answer. Any answer will do.
func (p *program) checkServer(ctx context.Context) error {
	err := p.parts.Discovery.RESTClient().Get().AbsPath("/version").MaxRetries(0).Do(ctx).Error()
	var answer apierrors.APIStatus
	if err == nil || errors.As(err, &answer) {
		return nil
	}
	return p.noAnswer(ctx, err)
}

// noAnswer returns the error for a server that has not answered before ctx has ended, or
// has failed with err.
func (p *program) noAnswer(ctx context.Context, err error) error {
	var signal interrupted
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &signal):
		return cause
	case cause != nil:
		return fmt.Errorf("no answer from %s: %w", p.parts.Config.Host, cause)
	}
	return fmt.Errorf("no answer from %s: %s", p.parts.Config.Host, informer.Explain(err))
}

// nothing ends a wait without objects.
func (p *program) nothing(why string) error {
	if err := p.printer().close(newBoard(nil, goal{}), ending{result: resultMet, text: why + ": nothing to wait for"}); err != nil {
		return useError(err)
	}
	return nil
}

// waiter returns the waiter. The hive must have started.
func (p *program) waiter(ids []status.ID, g goal) *waiter {
	b := newBoard(ids, g)
	b.begin = p.begin
	return &waiter{
		engine:   p.parts.Engine,
		events:   p.parts.Kube.CoreV1(),
		board:    b,
		printer:  p.printer(),
		failFast: p.failFast,
	}
}

func (p *program) printer() progressPrinter {
	switch {
	case p.output == outputJSON:
		return newJSONPrinter(p.out)
	case p.size != nil:
		return newScreenPrinter(p.out, p.size, os.Getenv("NO_COLOR") == "")
	}
	return newLinePrinter(p.out)
}
