// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package cli_test

import (
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/apiary-go/apiary/internal/cli"
)

// ignoresHangUp is set for the part of TestEndSignals that runs under nohup.
const ignoresHangUp = "CLI_TEST_IGNORES_HANG_UP"

func TestMain(m *testing.M) {
	if signal.Ignored(syscall.SIGHUP) && os.Getenv(ignoresHangUp) == "" { // the tests run under nohup
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	goleak.VerifyTestMain(m)
}

// Started with nohup it outlives its terminal.
func TestEndSignals(t *testing.T) {
	nohup := os.Getenv(ignoresHangUp) != ""
	if slices.Contains(cli.EndSignals(), os.Signal(syscall.SIGHUP)) == nohup {
		t.Errorf("it ends with its terminal: %t; with nohup: %t", !nohup, nohup)
	}
	if nohup {
		return
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `trap "" HUP; exec "$0" -test.run="^TestEndSignals$"`, os.Args[0])
	cmd.Env = append(os.Environ(), ignoresHangUp+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
