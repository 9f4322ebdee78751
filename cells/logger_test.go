// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"
)

// run starts and stops a hive, with flags as on a command line.
func run(t *testing.T, log *slog.Logger, args []string, cells ...cell.Cell) error {
	t.Helper()
	h := hive.New(cells...)
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	h.RegisterFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := h.Start(log, context.Background()); err != nil {
		return err
	}
	return h.Stop(log, context.Background())
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func lines(t *testing.T, file string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, m)
	}
	return out
}

func find(t *testing.T, lines []map[string]any, message string) map[string]any {
	t.Helper()
	for _, l := range lines {
		if l["msg"] == message {
			return l
		}
	}
	t.Fatalf("no %q in %v", message, lines)
	return nil
}

func TestLoggerFlags(t *testing.T) {
	ours, err := NewLogger(DefaultLoggerConfig)
	if err != nil {
		t.Fatal(err)
	}
	for name, given := range map[string]*slog.Logger{"ours": ours, "foreign": quiet()} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			err := run(t, given, []string{"--log-level=debug", "--log-format=json", "--log-output=" + file},
				Logger,
				cell.Module("bees", "Bees", cell.Invoke(func(lc cell.Lifecycle, log *slog.Logger) {
					if !log.Enabled(context.Background(), slog.LevelDebug) {
						t.Error("the level does not hold in constructors")
					}
					lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
						log.Debug("buzz", "n", 3)
						log.Log(context.Background(), levelTrace, "not shown")
						log.WithGroup("g").With("a", 1).Warn("grouped", "b", 2)
						klog.InfoS("from klog", "k", "v")
						return nil
					}})
				})))
			if err != nil {
				t.Fatal(err)
			}
			got := lines(t, file)
			if l := find(t, got, "buzz"); l["module"] != "bees" || l["level"] != "debug" || l["n"] != 3.0 {
				t.Error(l)
			}
			if l := find(t, got, "from klog"); l["k"] != "v" || l["module"] != "client-go" {
				t.Error(l)
			}
			if l := find(t, got, "grouped"); l["g"].(map[string]any)["a"] != 1.0 || l["g"].(map[string]any)["b"] != 2.0 {
				t.Error(l)
			}
			for _, l := range got {
				if l["msg"] == "not shown" {
					t.Error("trace at level debug")
				}
			}
			if name == "ours" {
				find(t, got, "Started hive")
			}
		})
	}
}

func TestLoggerBadFlags(t *testing.T) {
	for _, arg := range []string{"--log-level=loud", "--log-format=xml", "--log-output=/nowhere/at/all"} {
		err := run(t, quiet(), []string{arg}, Logger)
		flag, _, _ := strings.Cut(arg, "=")
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", arg, err)
		}
	}
	if _, err := NewLogger(LoggerConfig{LogLevel: "loud"}); err == nil {
		t.Error("bad level accepted")
	}
}

func TestLoggerOddLevels(t *testing.T) {
	b, err := makeBackend(LoggerConfig{LogLevel: "trace", LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	b.logrus.SetOutput(&buf)
	log := slog.New(&handler{backend: b})
	for level, want := range map[slog.Level]string{-8: "debug", -3: "debug", -1: "debug", 1: "info", 5: "warning", 12: "error"} {
		buf.Reset()
		log.Log(context.Background(), level, "x")
		if !strings.Contains(buf.String(), `"level":"`+want+`"`) {
			t.Errorf("%d: %s", level, buf.String())
		}
	}
}

func TestLoggersDoNotShare(t *testing.T) {
	b, err := makeBackend(LoggerConfig{LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	b.logrus.SetOutput(&buf)
	base := slog.New(&handler{backend: b}).With("a", 1).With("b", 2).With("c", 3)
	one, two := base.With("who", "one").WithGroup("g"), base.With("who", "two").WithGroup("h")
	one.Info("m", "k", 1)
	two.Info("m", "k", 1)
	if s := buf.String(); strings.Count(s, `"who":"one"`) != 1 || strings.Count(s, `"h":{"k":1}`) != 1 {
		t.Error(s)
	}
}

func TestLoggerPrintsErrorsAndDurationsAsText(t *testing.T) {
	b, err := makeBackend(LoggerConfig{LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	b.logrus.SetOutput(&buf)
	log := slog.New(&handler{backend: b})
	failure := fmt.Errorf("list pods: %w", errors.New("refused"))
	log.Warn("of the record", "error", failure, "after", 1500*time.Millisecond)
	log.With("error", failure).WithGroup("g").Warn("of the logger", "n", 1)
	if s := buf.String(); strings.Count(s, `"error":"list pods: refused"`) != 2 || !strings.Contains(s, `"after":"1.5s"`) {
		t.Error(s)
	}
}

// An error that is a nil pointer, and whatever else panics when it is asked for its
// text, is no reason to end the program; what is in a group is text as well.
func TestLoggerPrintsOddErrors(t *testing.T) {
	b, err := makeBackend(LoggerConfig{LogFormat: "json"})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	b.logrus.SetOutput(&buf)
	log := slog.New(&handler{backend: b})
	var none *fs.PathError
	log.Warn("nil", "error", error(none))
	log.Warn("group", slog.Group("g", "error", errors.New("refused"), slog.Group("h", "after", time.Second)))
	if s := buf.String(); !strings.Contains(s, `"error":"\u003cnil\u003e"`) || !strings.Contains(s, `"g":{"error":"refused","h":{"after":"1s"}}`) {
		t.Error(s)
	}
}

// LoggerWith has other defaults, and the flags go before them.
func TestLoggerWith(t *testing.T) {
	for want, args := range map[slog.Level][]string{slog.LevelWarn: nil, slog.LevelDebug: {"--log-level=debug"}} {
		file := filepath.Join(t.TempDir(), "log")
		err := run(t, quiet(), args, LoggerWith(LoggerConfig{LogLevel: "warn", LogFormat: "json", LogOutput: file}),
			atStart(t, func(ctx context.Context, log *slog.Logger) error {
				if !log.Enabled(ctx, want) || log.Enabled(ctx, want-1) {
					t.Errorf("%q: the level is not %s", args, want)
				}
				log.Warn("hello")
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), `"msg":"hello"`) {
			t.Errorf("%s %v", text, err)
		}
	}
}
