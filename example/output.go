// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/term"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/cells"
)

const (
	outputTable = "table"
	outputJSON  = "json"
)

// outputConfig is how things are shown.
type outputConfig struct {
	Output string
}

// Flags implements cell.Flagger.
func (c outputConfig) Flags(flags *pflag.FlagSet) {
	flags.String("output", c.Output, "What to print: table, or json for a line of JSON per change")
}

func (c outputConfig) validate() error {
	if c.Output != outputTable && c.Output != outputJSON {
		return fmt.Errorf("--output=%s: want %s or %s", c.Output, outputTable, outputJSON)
	}
	return nil
}

// stdout is where things are shown. Tests put something else into the hive.
type stdout io.Writer

// newPrinter chooses by the flag, and by whether a person watches.
func newPrinter(cfg outputConfig, out stdout) (printer, error) {
	switch err := cfg.validate(); {
	case err != nil:
		return nil, err
	case cfg.Output == outputJSON:
		return newJSONPrinter(out), nil
	case !isTerminal(out):
		return newBlockPrinter(out), nil
	}
	return newLivePrinter(out, sizeOf(out), os.Getenv("NO_COLOR") == ""), nil
}

// sizeOf returns what tells the size of a terminal, which may change.
func sizeOf(terminal io.Writer) func() (width, height int) {
	return func() (width, height int) {
		width, height, err := term.GetSize(int(terminal.(*os.File).Fd()))
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
}

// isTerminal reports whether out is a terminal on which lines can be drawn over.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb"
}

// title says where what is shown comes from, and how to look at it by other means.
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
