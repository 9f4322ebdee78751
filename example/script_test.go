// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/script"
	"github.com/cilium/hive/script/scripttest"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/cli"
)

// runScripts runs the scripts in testdata on the application, with a client of its own for
// each script.
func runScripts(t *testing.T, client func() cell.Cell) {
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel) // not defer: the scripts run in parallel, after this function
	scripttest.Test(t, ctx, func(t testing.TB, _ []string) *script.Engine {
		h := hive.NewWithOptions(cli.HiveOptions(), client(), application(io.Discard, &demoServer{}), cells.Status, cells.ScriptClientCommands)
		h.Viper().Set("log-level", "error")
		t.Cleanup(func() {
			if err := h.Stop(log, context.Background()); err != nil {
				t.Error(err)
			}
		})
		cmds, err := h.ScriptCommands(log)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(cmds, script.DefaultCmds())
		return &script.Engine{Cmds: cmds}
	}, nil, "testdata/*.txtar")
}

// The same scripts pass on an API server in memory, and on a real one.
func TestScripts(t *testing.T) {
	runScripts(t, func() cell.Cell { return cells.FakeClientWith(func() *fakeapi.Server { return fakeapi.New() }) })
}

// The shell of the application has the commands.
func TestApplicationHasCommands(t *testing.T) {
	h, err := testHive(fakeapi.New(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	cmds, err := h.ScriptCommands(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if cmds["resources"] == nil {
		t.Error("there is no command resources")
	}
	for name := range cmds {
		if strings.HasPrefix(name, "k8s/") {
			t.Errorf("the shell has %s, which is for tests", name)
		}
	}
}
