// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Mirror keeps a copy of a cluster's objects in a file. It writes a row only when the
// object has changed, also after a restart or a kill. It is made to be read and copied.
//
// Each file holds one idea:
//
//	main.go        the command line
//	collection.go  the collections to mirror, and their names
//	client.go      the cluster
//	database.go    the file, a bbolt database, and the format of a row
//	commit.go      one writer, whose transactions hold all waiting changes
//	handler.go     from the events of an informer to changes of rows
//	mirror.go      one informer for each collection, which resumes where the rows end
//	report.go      the lines that are printed
//	dump.go        prints the file
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
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/informer/source"
)

func main() {
	if err := newCommand(os.Stdout, os.Stderr).Execute(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

const description = `Keeps a copy of a cluster's objects in a file, a bbolt database, and prints what it
does. It must be allowed to list and watch the resources, and writes nothing to the
cluster.

Name a resource by its plural, version and group: deployments.v1.apps. The version
can be omitted for v1 of the core group: pods. Default: pods and services.

It can be ended at any moment, by Ctrl-C or by kill -9. Started again with the same
file, it resumes and writes only the objects that have changed meanwhile.`

const examples = `  mirror --db mirror.db --kubeconfig ~/.kube/config
  mirror --db mirror.db --namespace shop pods configmaps deployments.v1.apps
  mirror --db mirror.db dump pods`

// options are the flags.
type options struct {
	db         string
	kubeconfig string
	namespace  string
	verbose    bool
}

func newCommand(out, notes io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "mirror --db FILE [resource ...]",
		Short:         "Keep a copy of a cluster's objects in a file",
		Long:          description,
		Example:       examples,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"pods", "services"}
			}
			collections, err := parseCollections(o.namespace, args)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, o, collections, out, notes)
		},
	}
	cmd.SetContext(context.Background())
	flags := cmd.PersistentFlags()
	flags.StringVar(&o.db, "db", "", "Path of the file; created if missing")
	flags.StringVarP(&o.namespace, "namespace", "n", "", "Only this namespace; default: all namespaces")
	cmd.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "Path of the kubeconfig file; default: $KUBECONFIG")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "Print each write")
	cmd.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.db == "" {
			return errors.New("--db is missing: name a file, such as --db mirror.db")
		}
		return nil
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	cmd.AddCommand(newDump(&o, out))
	cmd.CompletionOptions.HiddenDefaultCmd = true
	return cmd
}

// run mirrors until ctx ends.
func run(ctx context.Context, o options, collections []collection, out, notes io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	klog.SetSlogLogger(log) // the logger of client-go

	config, err := clientConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	db, err := openDatabase(o.db, config.Host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	return follow(ctx, config, db, collections, &printer{out: out, verbose: o.verbose}, log)
}

// follow mirrors to an open file.
func follow(ctx context.Context, config *rest.Config, db *database, collections []collection, lines *printer, log *slog.Logger) error {
	factory, err := source.NewDynamicListerWatcherFactory(config) // one client for all collections
	if err != nil {
		return err
	}
	w := newWriter(db, log)
	var mirrors []*copier
	var names []string
	for _, c := range collections {
		m, err := newMirror(c, db, w, factory.ForResource(c.namespace, c.resource), lines, log)
		if err != nil {
			return err
		}
		mirrors, names = append(mirrors, m), append(names, c.String())
	}
	lines.line("Mirroring %s of %s to %s. Ctrl-C ends it.", strings.Join(names, ", "), config.Host, db.path)

	var reading, writing sync.WaitGroup
	writing.Go(w.run)
	for _, m := range mirrors {
		reading.Go(func() { m.run(ctx) })
	}
	reading.Wait()
	w.stop()
	writing.Wait()
	for _, m := range mirrors {
		m.printSummary()
	}
	w.printSummary(lines)
	return nil
}
