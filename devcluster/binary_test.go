// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apiary-go/apiary/devcluster"
)

// fakeGo puts a fake go command first in $PATH, and hides the binary that the other tests
// use.
func fakeGo(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv(devcluster.BinaryEnv, "")
	return dir
}

const noTool = `
case $1 in tool) echo 'go: no such tool "x"' >&2; exit 2;; esac
`

func TestBinaryIsTheModulesTool(t *testing.T) {
	dir := fakeGo(t, `[ "$1 $2" = "tool -n" ] && echo asked >>"$HOME/log" && echo "$HOME/go"`)
	t.Chdir(dir)
	for range 2 {
		got, err := devcluster.Binary(t.Context(), devcluster.Config{})
		if want := filepath.Join(dir, "go"); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	if log, err := os.ReadFile(filepath.Join(dir, "log")); err != nil || string(log) != "asked\n" {
		t.Errorf("the go command was asked %q, %v; want once", log, err)
	}
}

func TestBinaryToolDoesNotBuild(t *testing.T) {
	t.Chdir(fakeGo(t, `echo "x.go:1: this does not compile" >&2; exit 1`))
	var log bytes.Buffer
	_, err := devcluster.Binary(t.Context(), devcluster.Config{Log: &log})
	if err == nil || !strings.Contains(err.Error(), "this does not compile") || errors.Is(err, devcluster.ErrNoBinary) {
		t.Errorf("%v", err)
	}
	if !strings.Contains(log.String(), "this does not compile") {
		t.Errorf("log: %q", log.String())
	}
}

func TestBinaryIsInstalledOnce(t *testing.T) {
	dir := fakeGo(t, noTool+`
case $1 in
list) echo '{"Version": "v9.9.9"}' ;;
install) echo "$2 $GOFLAGS" >>"$HOME/installed"; cp "$HOME/go" "$GOBIN/devcluster" ;;
esac`)
	t.Chdir(dir)
	t.Setenv("GOFLAGS", "-race")
	want := filepath.Join(dir, "cache", "devcluster", "v9.9.9", "devcluster")
	for range 2 {
		got, err := devcluster.Binary(t.Context(), devcluster.Config{})
		if err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	installed, err := os.ReadFile(filepath.Join(dir, "installed"))
	if want := "github.com/apiary-go/apiary/devcluster/cmd/devcluster@v9.9.9 \n"; err != nil || string(installed) != want {
		t.Errorf("installed %q, %v; want %q", installed, err, want)
	}
}

// An incomplete command, of an aborted build or of a build that still runs, is not used.
func TestBinaryIsInstalledWhole(t *testing.T) {
	dir := fakeGo(t, noTool+`
case $1 in
list) echo '{"Version": "v9.9.9"}' ;;
install)
	echo half >"$GOBIN/devcluster"; chmod +x "$GOBIN/devcluster"
	[ -e "$HOME/cache/devcluster/v9.9.9/devcluster" ] && echo seen >"$HOME/seen"
	[ -e "$HOME/broken" ] || { echo >"$HOME/broken"; exit 1; }
	echo whole >"$GOBIN/devcluster"; chmod 777 "$GOBIN/devcluster" ;; # as with umask 0
esac`)
	t.Chdir(dir)
	if path, err := devcluster.Binary(t.Context(), devcluster.Config{}); !errors.Is(err, devcluster.ErrNoBinary) {
		t.Errorf("%q, %v", path, err)
	}
	path, err := devcluster.Binary(t.Context(), devcluster.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "whole\n" {
		t.Errorf("%q, %v; want the whole file", text, err)
	}
	checkMode(t, path, 0o755)
	if _, err := os.Stat(filepath.Join(dir, "seen")); err == nil {
		t.Error("a file was in place before it was whole")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestNoBinary(t *testing.T) {
	for name, script := range map[string]string{
		"a replaced module": noTool + `echo '{"Version": "v0.0.0", "Replace": {"Path": "../devcluster"}}'`,
		"a working copy":    noTool + `echo '{"Main": true}'`,
		"no such version":   noTool + `case $1 in list) echo '{"Version": "v9.9.9"}';; *) echo "unknown revision" >&2; exit 1;; esac`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(fakeGo(t, script))
			_, err := devcluster.Binary(t.Context(), devcluster.Config{})
			if !errors.Is(err, devcluster.ErrNoBinary) || !strings.Contains(err.Error(), "go get -tool github.com/apiary-go/apiary/devcluster/cmd/devcluster") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("no go command", func(t *testing.T) {
		t.Setenv(devcluster.BinaryEnv, "")
		t.Setenv("PATH", t.TempDir())
		t.Chdir(t.TempDir())
		if _, err := devcluster.Start(t.Context(), devcluster.Config{}); !errors.Is(err, devcluster.ErrNoBinary) {
			t.Errorf("%v", err)
		}
	})
}

func TestBinaryIsNoProgram(t *testing.T) {
	for _, path := range []string{t.TempDir(), "binary_test.go"} {
		t.Setenv(devcluster.BinaryEnv, path)
		_, err := devcluster.Binary(t.Context(), devcluster.Config{})
		if err == nil || !strings.Contains(err.Error(), "not an executable file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestBuildIsBrokenOffAndNoticed(t *testing.T) {
	t.Chdir(fakeGo(t, `exec sleep 60`))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	log := &signalWriter{seen: make(chan struct{})}
	go func() {
		select {
		case <-log.seen: // the notice of a build that takes long
			cancel()
		case <-ctx.Done():
		}
	}()
	_, err := devcluster.Binary(ctx, devcluster.Config{Log: log})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if text := log.text.String(); !strings.Contains(text, "some minutes") {
		t.Errorf("log: %q", text)
	}
}

// signalWriter closes seen at its first Write. It has no lock: it is a check
// that the log is called by one goroutine at a time, too.
type signalWriter struct {
	text bytes.Buffer
	seen chan struct{}
}

func (w *signalWriter) Write(p []byte) (int, error) {
	if w.text.Len() == 0 {
		defer close(w.seen)
	}
	return w.text.Write(p)
}
