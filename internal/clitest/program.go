// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clitest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Program is a process that a test has started.
type Program struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{}
	Output *Output // of both standard output and standard error
}

// Start starts cmd. The process ends with the test.
func Start(t *testing.T, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{t: t, cmd: cmd, ended: make(chan struct{}), Output: NewOutput()}
	cmd.Stdout, cmd.Stderr = p.Output, p.Output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // see cmd.ProcessState
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if it runs
		<-p.ended
	})
	return p
}

// WaitFor waits until the process has printed a text.
func (p *Program) WaitFor(text string) {
	p.t.Helper()
	deadline := time.After(time.Minute)
	for {
		grown := p.Output.Grown()
		if strings.Contains(p.Output.String(), text) {
			return
		}
		select {
		case <-grown:
		case <-p.ended:
			p.t.Fatalf("it ended without %q; it printed:\n%s", text, p.Output)
		case <-deadline:
			p.t.Fatalf("%q does not come; it printed:\n%s", text, p.Output)
		}
	}
}

// Signal sends a signal to the process.
func (p *Program) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// MustEnd waits for the end of the process, and checks its exit code. The code is -1 if a
// signal ended it. It returns the time until the end.
func (p *Program) MustEnd(code int, within time.Duration) time.Duration {
	p.t.Helper()
	begin := time.Now()
	select {
	case <-p.ended:
	case <-time.After(within):
		p.t.Fatalf("it has not ended within %s; it printed:\n%s", within, p.Output)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("exit code %d, want %d; it printed:\n%s", got, code, p.Output)
	}
	return time.Since(begin)
}

// Expect checks that the process has printed some texts.
func (p *Program) Expect(parts ...string) {
	p.t.Helper()
	Expect(p.t, p.Output.String(), parts...)
}

// Expect checks that some parts are in a text.
func Expect(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}
