// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/internal/cli"
)

const (
	outputTable = "table"
	outputJSON  = "json"
)

// outputConfig selects the output.
type outputConfig struct {
	Output string
}

// Flags implements cell.Flagger.
func (c outputConfig) Flags(flags *pflag.FlagSet) {
	flags.String("output", c.Output, "Output format: table, or json for a line of JSON per change")
}

func (c outputConfig) validate() error {
	if c.Output != outputTable && c.Output != outputJSON {
		return fmt.Errorf("--output=%s: want %s or %s", c.Output, outputTable, outputJSON)
	}
	return nil
}

// stdout is the output. Tests provide another one.
type stdout io.Writer

// newPrinter returns the printer for the flag and for the kind of output.
func newPrinter(cfg outputConfig, out stdout) (printer, error) {
	switch err := cfg.validate(); {
	case err != nil:
		return nil, err
	case cfg.Output == outputJSON:
		return newJSONPrinter(out), nil
	case !cli.IsTerminal(out):
		return newBlockPrinter(out), nil
	}
	return newLivePrinter(out, cli.SizeOf(out), os.Getenv("NO_COLOR") == ""), nil
}

// title names the source of the table, and a command that shows it too.
type title struct {
	Text string
	Hint string
}

func newTitle(demo *demoServer, client *cells.ClientState, config *rest.Config) title {
	switch {
	case demo.running():
		return title{
			Text: "Services and their pods, of a demo at " + config.Host + " (Kubernetes " + demo.cluster.Version() + ")",
			Hint: "kubectl --kubeconfig " + demo.cluster.Kubeconfig() + " get pods -A",
		}
	case client.IsEnabled():
		return title{Text: "Services and their pods, of " + config.Host + " by " + client.Origin()}
	}
	return title{Text: "Services and their pods"}
}
