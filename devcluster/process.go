// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/devcluster/internal/tail"
	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

const (
	// tailLines is the number of log lines that are kept for errors.
	tailLines = 50
	// stopGrace bounds a graceful stop. Afterwards the server is killed.
	stopGrace = 5 * time.Second
	// pipeGrace bounds the time to read the rest of the log of an exited server.
	pipeGrace = time.Second
)

// process is one run of the server. One goroutine owns it: it starts the process,
// waits for it and closes done.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *readyLine
	tail  *tail.Writer
	done  chan struct{} // closed when the process has exited and was waited for
	err   error         // the exit status; written before done is closed
	asked atomic.Bool   // a method of Cluster ended the process
}

// startProcess starts the command. It returns when the process runs, or when the
// start has failed.
func startProcess(binary string, args []string, log io.Writer) (*process, error) {
	p := &process{
		cmd:  exec.Command(binary, args...),
		out:  newReadyLine(),
		tail: &tail.Writer{Max: tailLines, Next: log},
		done: make(chan struct{}),
	}
	p.cmd.Stdout = p.out
	p.cmd.Stderr = p.tail
	p.cmd.SysProcAttr = processAttributes()
	p.cmd.WaitDelay = pipeGrace
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("make a pipe to the server: %w", err)
	}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		// The kernel signals the child when the thread that started it ends. This
		// thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := p.cmd.Start(); err != nil {
			p.err = err
			started <- err
			return
		}
		started <- nil
		p.err = p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("run %s: %w", binary, err)
	}
	return p, nil
}

// waitReady waits for the server's ready line.
func (p *process) waitReady(ctx context.Context) (wire.Ready, error) {
	select {
	case line := <-p.out.line:
		var ready wire.Ready
		if err := json.Unmarshal(line, &ready); err != nil {
			return ready, fmt.Errorf("%s is not a devcluster command; it printed %q: %w", p.cmd.Path, line, err)
		}
		if ready.Protocol != wire.Protocol {
			return ready, fmt.Errorf("%s uses protocol version %d, and this package version %d; build both from one version of the module", p.cmd.Path, ready.Protocol, wire.Protocol)
		}
		return ready, nil
	case <-p.done:
		if len(p.out.line) > 0 {
			return p.waitReady(ctx) // it printed a line before it exited
		}
		return wire.Ready{}, p.exitError()
	case <-ctx.Done():
		return wire.Ready{}, fmt.Errorf("the server was not ready in time: %w%s", context.Cause(ctx), p.tail.Text("; last lines of its log:"))
	}
}

// exitError returns the exit status of a process that has exited.
func (p *process) exitError() error {
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return &ExitError{Err: err, Log: p.tail.Lines()}
}

// end stops the process gracefully, and returns when it has exited. If it has not
// exited after stopGrace or when ctx ends, end kills it and returns an error.
func (p *process) end(ctx context.Context, keep bool) error {
	select {
	case <-p.done:
		_ = p.stdin.Close()
		return nil
	default:
		p.asked.Store(true)
	}
	if keep {
		// An error means that the process has exited, or is about to.
		_, _ = io.WriteString(p.stdin, wire.Keep+"\n")
	}
	_ = p.stdin.Close()
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	var late error
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		late = fmt.Errorf("the server had not exited after %s and was killed%s", stopGrace, p.tail.Text("; last lines of its log:"))
	case <-ctx.Done():
		late = fmt.Errorf("the server had not exited in time and was killed: %w", context.Cause(ctx))
	}
	return errors.Join(late, p.kill())
}

// kill kills the process group, and returns when the process has exited.
func (p *process) kill() error {
	select {
	case <-p.done:
		return nil
	default:
		p.asked.Store(true)
	}
	if err := killGroup(p.cmd.Process); err != nil {
		return fmt.Errorf("kill the server (process %d): %w", p.cmd.Process.Pid, err)
	}
	<-p.done
	return nil
}

// readyLine is a writer that keeps the first line written to it.
type readyLine struct {
	line chan []byte // receives the first line, once
	buf  []byte
	sent bool
}

func newReadyLine() *readyLine { return &readyLine{line: make(chan []byte, 1)} }

func (r *readyLine) Write(b []byte) (int, error) {
	if r.sent {
		return len(b), nil
	}
	r.buf = append(r.buf, b...)
	if i := bytes.IndexByte(r.buf, '\n'); i >= 0 {
		r.line <- r.buf[:i]
		r.sent = true
	}
	return len(b), nil
}
