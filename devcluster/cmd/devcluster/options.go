// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/apiary-go/apiary/devcluster/internal/server"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
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
Flags after -- go to kube-apiserver. One that devcluster also sets replaces
devcluster's value (authorization-mode, service-cluster-ip-range, ...), except
those for address, certificates and etcd, which are refused. Give values as
--name=value.

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

// parse reads the command line. For --help it prints the help and says so in
// the result.
func parse(args []string, stdout io.Writer) (options, error) {
	var o options
	f := pflag.NewFlagSet("devcluster", pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {}
	f.StringVar(&o.dataDir, "data-dir", "", "`directory` of the cluster's data, certificates and port, kept at the end and used again; made if missing (default: a temporary one, removed at the end)")
	f.IntVar(&o.port, "port", 0, "`port` of the API server on 127.0.0.1 (default: the one this data directory had before, else a free one)")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to write the administrator's kubeconfig to, mode 0600; removed at the end (default: one in a temporary directory)")
	f.StringVar(&o.logFile, "log-file", "", "`file` to append the server's log to, - for standard error (default: shown only if the server fails)")
	f.DurationVar(&o.startTimeout, "start-timeout", time.Minute, "how long the server may take until it is ready")
	f.BoolVar(&o.exitOnStdinClose, "exit-on-stdin-close", false, "end when standard input closes, as it does when the parent process dies")
	f.BoolVar(&o.readyJSON, "ready-json", false, "print nothing but one line of JSON, once the server is ready")
	f.StringVar(&o.tempDir, "temp-dir", "", "existing `directory` for what is temporary, removed at the end with all that is in it (default: a new one)")
	f.BoolVar(&o.version, "version", false, "print the version of the API server and end")
	f.BoolVarP(&o.help, "help", "h", false, "print this help and end")
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

// makeTemp returns the temporary directory, mode 0700. Its path is short, for
// the sake of the socket in it.
func (o options) makeTemp() (string, error) {
	if o.tempDir != "" {
		temp, err := filepath.Abs(o.tempDir)
		if err != nil {
			return "", fmt.Errorf("find the temporary directory: %w", err)
		}
		info, err := os.Stat(temp)
		if err != nil {
			return "", fmt.Errorf("look at the temporary directory: %w", err)
		}
		if !info.IsDir() {
			return "", fmt.Errorf("--temp-dir %s is not a directory", temp)
		}
		return temp, nil
	}
	temp, err := os.MkdirTemp("", "devcluster-")
	if err != nil {
		return "", fmt.Errorf("make a temporary directory (see $TMPDIR): %w", err)
	}
	return temp, nil
}

// kubeconfigMark begins every kubeconfig that this command writes, so that it
// replaces and removes none that it did not.
const kubeconfigMark = "# Written by devcluster, which removes it at its end.\n"

// checkKubeconfig returns an error if there is a kubeconfig of somebody else's
// where ours is to go.
func (o options) checkKubeconfig() error {
	if o.kubeconfig == "" {
		return nil
	}
	there, err := os.ReadFile(o.kubeconfig)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (len(there) == 0 || strings.HasPrefix(string(there), kubeconfigMark)) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the kubeconfig: %w", err)
	}
	return fmt.Errorf("--kubeconfig %s exists and is not of devcluster's writing; move it away or choose another path", o.kubeconfig)
}

// removeTemporary removes the temporary directory, and the kubeconfig.
func (o options) removeTemporary(temp string) error {
	err := os.RemoveAll(temp)
	if o.kubeconfig != "" {
		e := o.checkKubeconfig()
		if e == nil {
			e = os.Remove(o.kubeconfig)
		}
		if e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("remove what is temporary: %w", err)
	}
	return nil
}

// writeKubeconfig writes the administrator's kubeconfig and returns its path.
func (o options) writeKubeconfig(s *server.Server, temp string) (string, error) {
	path := o.kubeconfig
	if path == "" {
		path = filepath.Join(temp, wire.Kubeconfig)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find the kubeconfig: %w", err)
	}
	data, err := s.Kubeconfig()
	if err != nil {
		return "", err
	}
	if err := o.checkKubeconfig(); err != nil {
		return "", err
	}
	// The mode of a file that was there before would stay as it was.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("replace the kubeconfig: %w", err)
	}
	if err := os.WriteFile(path, append([]byte(kubeconfigMark), data...), 0o600); err != nil {
		return "", fmt.Errorf("write the kubeconfig: %w", err)
	}
	return path, nil
}

// openLog returns where the server's log goes, and how to close it.
func (o options) openLog(tail *tail, stderr io.Writer) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	switch o.logFile {
	case "":
		return tail, nothing, nil
	case "-":
		return stderr, nothing, nil
	}
	f, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	return io.MultiWriter(f, tail), f.Close, nil
}
