// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"
)

// DefaultStartTimeout is the default of Config.StartTimeout.
const DefaultStartTimeout = time.Minute

// Config configures a cluster. The zero value starts a new cluster on a free port,
// with temporary data.
type Config struct {
	// Binary is the path of the devcluster command that is run as the server.
	// Default: [Binary] finds or builds it.
	Binary string

	// Dir is the directory of the cluster's data: etcd's database, certificates,
	// the administrator's token and the port. A missing directory is created with
	// mode 0700. It is kept, and a later cluster with this Dir is the same cluster
	// at the same address. Only one server can use it at a time. It contains
	// secrets: [Start] fails if it belongs to another user, if others can write to
	// it, or if it is a symbolic link.
	//
	// Default: a temporary directory. [Cluster.Stop] removes it, or the server does
	// when its parent process dies.
	Dir string

	// Port is the port of the API server on 127.0.0.1. Default: the port stored in
	// Dir, or a free one.
	Port int

	// Flags are additional flags of kube-apiserver, each as --name=value, such as
	// --watch-cache=false or --feature-gates=WatchList=false. They override the
	// flags that devcluster sets, except those of address, certificates and etcd:
	// with one of these, [Start] fails.
	Flags []string

	// Log receives the server's log, and the output of a build. It is called from
	// one goroutine at a time, with no lock held. A Write that blocks delays the
	// server's log, and in the end the server.
	//
	// Default: only the last lines are kept, for errors. A build that takes more
	// than 3 seconds prints a notice on standard error.
	Log io.Writer

	// StartTimeout bounds the time from the start of the server process until it
	// is ready, for each start and restart. Builds do not count. Default:
	// [DefaultStartTimeout].
	StartTimeout time.Duration
}

// withDefaults returns the configuration with defaults filled in and paths made
// absolute.
func (c Config) withDefaults() (Config, error) {
	if c.StartTimeout < 0 {
		return c, fmt.Errorf("devcluster: Config.StartTimeout is %s; it must not be negative", c.StartTimeout)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.Port < 0 || c.Port > 65535 {
		return c, fmt.Errorf("devcluster: Config.Port %d is not a port", c.Port)
	}
	if c.Dir != "" {
		dir, err := filepath.Abs(c.Dir)
		if err != nil {
			return c, fmt.Errorf("devcluster: find Config.Dir: %w", err)
		}
		c.Dir = dir
	}
	c.Flags = append([]string(nil), c.Flags...)
	return c, nil
}

// ErrStopped is returned by methods of a cluster after [Cluster.Stop].
var ErrStopped = errors.New("devcluster: the cluster is stopped")

// ErrNotRunning is returned by methods that need a running server, after
// [Cluster.Halt] or [Cluster.Kill], or after the server died. [Cluster.Restart]
// starts it again.
var ErrNotRunning = errors.New("devcluster: the server is not running; call Restart")

// ExitError reports that the server process exited unexpectedly, during the start
// or later.
type ExitError struct {
	// Err is the exit status, for example an *exec.ExitError.
	Err error
	// Log holds the last lines of its log and error output, oldest first, at most
	// 50.
	Log []string
}

// Error returns the exit status, followed by the last lines of the log.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("the server process ended (%v)", e.Err)
	if len(e.Log) == 0 {
		return text + "; it logged nothing"
	}
	text += "; last lines of its log:"
	for _, line := range e.Log {
		text += "\n  " + line
	}
	return text
}

// Unwrap returns Err.
func (e *ExitError) Unwrap() error { return e.Err }
