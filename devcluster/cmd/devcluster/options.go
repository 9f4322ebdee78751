// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/devcluster/internal/private"
	"github.com/apiary-go/apiary/devcluster/internal/tail"
)

const usage = `devcluster runs a real Kubernetes API server and its etcd in one process, on
loopback, for development and tests. It prints the path of a kubeconfig for an
administrator, and ends on Ctrl-C, SIGTERM, or when its terminal is closed.

Usage:
  devcluster [flags] [-- kube-apiserver flags]

Examples:
  devcluster
  devcluster --data-dir ./cluster --port 6443
  devcluster -- --watch-cache=false --feature-gates=WatchList=false

Flags:
`

const usageEnd = `
Flags after -- are passed to kube-apiserver. They override the values that
devcluster sets (authorization-mode, service-cluster-ip-range, ...). Flags for
address, certificates and etcd are refused. Write values as --name=value.

There is no kubelet, scheduler or controller manager: objects are stored and
served, nothing runs.
`

type options struct {
	help, version    bool
	dataDir, tempDir string
	port             int
	kubeconfig       string
	logFile          string
	startTimeout     time.Duration
	exitOnStdinClose bool
	readyJSON        bool
	serverFlags      []string
}

// parse reads the command line. For --help it prints the help and returns options
// with help set.
func parse(args []string, stdout io.Writer) (options, error) {
	var o options
	f := pflag.NewFlagSet("devcluster", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&o.dataDir, "data-dir", "", "`directory` of the cluster's data, certificates and port, kept for the next start; created if missing, refused if others can write to it (default: a temporary directory, removed at the end)")
	f.IntVar(&o.port, "port", 0, "`port` of the API server on 127.0.0.1 (default: the port stored in the data directory, or a free one)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` for the administrator's kubeconfig, mode 0600, removed at the end (default: a file in a temporary directory)")
	f.StringVar(&o.logFile, "log-file", "", "`file` to which the server's log is appended, - for standard error (default: shown only if the server fails)")
	f.DurationVar(&o.startTimeout, "start-timeout", time.Minute, "time until the server must be ready")
	f.BoolVar(&o.exitOnStdinClose, "exit-on-stdin-close", false, "exit when standard input is closed, for example by the death of the parent process")
	f.BoolVar(&o.readyJSON, "ready-json", false, "print only one line of JSON, when the server is ready")
	f.StringVar(&o.tempDir, "temp-dir", "", "`directory` in which devcluster creates a directory for temporary files, removed at the end; if missing, it is itself created and removed (default: $TMPDIR)")
	f.BoolVar(&o.version, "version", false, "print the version of the API server and exit")
	f.BoolVarP(&o.help, "help", "h", false, "print this help and exit")
	if err := f.Parse(args); err != nil {
		return o, fmt.Errorf("%w; see devcluster --help (flags of kube-apiserver come after --)", err)
	}
	if o.help {
		_, err := fmt.Fprint(stdout, usage, f.FlagUsagesWrapped(90), usageEnd)
		return o, err
	}
	dash := f.ArgsLenAtDash()
	if dash < 0 {
		dash = f.NArg()
	}
	if dash > 0 {
		return o, fmt.Errorf("unknown argument %q; see devcluster --help (flags of kube-apiserver come after --)", f.Arg(0))
	}
	o.serverFlags = f.Args()
	if o.port < 0 || o.port > 65535 {
		return o, fmt.Errorf("--port %d is not a port", o.port)
	}
	if o.startTimeout <= 0 {
		return o, fmt.Errorf("--start-timeout %s is not positive", o.startTimeout)
	}
	return o, nil
}

// removes returns true if the temporary files of a cluster that was ready must be
// removed. A parent that passed --temp-dir can start the command on it again: after
// a failure, and when it has sent wire.Keep.
func (o options) removes(e ending) bool {
	return o.tempDir == "" || e.err == nil && !e.keep
}

// checkKept returns an error if a path that is kept is in the temporary directory.
func (o options) checkKept(t *tempDir) error {
	if o.dataDir != "" {
		if err := t.checkOutside("--data-dir", o.dataDir); err != nil {
			return err
		}
	}
	if o.logFile != "" && o.logFile != "-" {
		return t.checkOutside("--log-file", o.logFile)
	}
	return nil
}

// openLog returns the writer of the server's log, and a function that closes it.
func (o options) openLog(kept *tail.Writer, stderr io.Writer) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	switch o.logFile {
	case "":
		return kept, nothing, nil
	case "-":
		return stderr, nothing, nil
	}
	f, err := private.OpenAppend(o.logFile)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return io.MultiWriter(f, kept), f.Close, nil
}
