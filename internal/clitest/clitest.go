// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package clitest has what the tests of command-line programs share.
package clitest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/apiary-go/apiary/internal/cli"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Golden compares a text with the golden file of the test.
func Golden(t *testing.T, got string) {
	t.Helper()
	path := filepath.Join("testdata", strings.ReplaceAll(t.Name(), "/", "_")+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs. Got:\n%s\nwant:\n%s", path, got, want)
	}
}

// Readable replaces the control sequences of the terminal.
var Readable = strings.NewReplacer(cli.EnterScreen, "<enter>", cli.LeaveScreen, "<leave>\n", cli.Home, "<home>\n",
	cli.EndOfLine, "", cli.ToTheEnd, "<end>\n", cli.Bold, "<b>", cli.Red, "<red>", cli.Green, "<green>", cli.Yellow, "<yellow>",
	cli.Plain, "</b>", "\r", "")

// BrokenPipe is an output whose reader has gone.
type BrokenPipe struct{}

// Write implements io.Writer.
func (BrokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

// Output is the output of a program. It can be read while the program runs.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed, and replaced, with each Write
}

// NewOutput returns an empty Output.
func NewOutput() *Output { return &Output{more: make(chan struct{})} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(p)
}

// String returns everything up to now.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Take returns everything up to now, and removes it.
func (o *Output) Take() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer o.text.Reset()
	return o.text.String()
}

// Grown returns a channel that is closed when there is more.
func (o *Output) Grown() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.more
}
