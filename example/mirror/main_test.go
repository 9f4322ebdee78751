// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := binaries(); err == nil {
			if err := os.RemoveAll(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		os.Exit(code)
	}))
}

// binaries is where tests build programs, removed by TestMain.
var binaries = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "mirror-test-") })

// output is what a program prints, to be read while it does.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed, and replaced, with each Write
}

func newOutput() *output { return &output{more: make(chan struct{})} }

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(p)
}

// String returns everything up to now.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// grown returns a channel that is closed when there is more.
func (o *output) grown() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.more
}
