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

// DefaultStartTimeout is how long a server may take to become ready when
// Config.StartTimeout is zero.
const DefaultStartTimeout = time.Minute

// Config says what cluster to start. The zero value is a good one: a fresh
// cluster on a free port that leaves nothing behind.
type Config struct {
	// Binary is the path of the devcluster command to run as the server. Empty
	// means that it is looked up, and built if need be: see [Binary].
	Binary string

	// Dir is the directory of the cluster's data: etcd's database, certificates,
	// the administrator's token and the port. It is made if missing and kept at
	// the end, and a cluster started on it again is the same cluster at the same
	// address. One server at a time may use it. It holds secrets; its mode is
	// 0700 if it is made here. [Start] fails if it belongs to another user, if
	// others can write to it, or if it is a symbolic link.
	//
	// Empty means a temporary directory that [Cluster.Stop] removes, or the
	// server itself when the process that started it dies.
	Dir string

	// Port is the port of the API server on 127.0.0.1. Zero means the one that Dir
	// had before, or else a free one.
	Port int

	// Flags are further flags of kube-apiserver, each as --name=value, such as
	// --watch-cache=false or --feature-gates=WatchList=false. A flag that
	// devcluster itself sets is replaced by the one given here, except those of
	// address, certificates and etcd, which make [Start] fail.
	Flags []string

	// Log gets the server's log, and the output of a build if one is needed. It
	// is called from one goroutine at a time, never with a lock held; a Write that
	// blocks holds up the server's log and in the end the server.
	//
	// Nil means that the log is dropped but for its last lines, which are part of
	// errors, and that a build that takes more than 3 seconds says so on standard
	// error.
	Log io.Writer

	// StartTimeout bounds the time from the start of the server process until it
	// is ready, at every start and restart. Zero means [DefaultStartTimeout].
	// The time of a build does not count.
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

// ErrStopped is the error of calls on a cluster after [Cluster.Stop].
var ErrStopped = errors.New("devcluster: the cluster is stopped")

// ErrNotRunning is the error of calls that need a running server while there is
// none: after [Cluster.Halt] or [Cluster.Kill], or after it died. Call
// [Cluster.Restart].
var ErrNotRunning = errors.New("devcluster: the server is not running; call Restart")

// ExitError says that the server process ended without having been asked to,
// while starting or later.
type ExitError struct {
	// Err is how it ended, for example an *exec.ExitError.
	Err error
	// Log holds the last lines of its log and error output, oldest first: up to
	// 50 lines.
	Log []string
}

// Error tells how the process ended, followed by the last lines of its log.
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
