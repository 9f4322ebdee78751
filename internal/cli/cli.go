// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package cli has what the command-line programs of this repository share: the hive with
// its log and its errors, the signals that end a program, and the terminal.
package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/cilium/hive"

	"github.com/apiary-go/apiary/cells"
)

// HiveOptions returns the options of a hive. The timeouts bound the time that Ctrl-C
// takes.
func HiveOptions() hive.Options {
	opts := hive.DefaultOptions()
	opts.StartTimeout = 10 * time.Second // no start hook waits for the API server
	opts.StopTimeout = 2 * time.Second
	return opts
}

// HiveLogger returns the logger of hive itself, for the flags of [cells.Logger]. It logs
// only with --log-level info or debug: hive returns its errors too, and main prints them.
func HiveLogger(flags interface{ GetString(name string) string }) *slog.Logger {
	cfg := cells.LoggerConfig{LogLevel: flags.GetString("log-level"), LogFormat: flags.GetString("log-format")}
	log, err := cells.NewLogger(cfg)
	if err != nil || !log.Enabled(context.Background(), slog.LevelInfo) {
		return slog.New(slog.DiscardHandler) // cells.Logger reports wrong flags
	}
	return log
}

// Explain removes the words about the object graph of a hive from an error.
func Explain(err error) error {
	if populate := (hive.ErrPopulate{}); errors.As(err, &populate) {
		return errors.New(strings.TrimPrefix(populate.Error(), "failed to populate object graph: "))
	}
	return err
}

// EndSignals returns the signals that end a program. With nohup that of a closed terminal
// is not one of them.
func EndSignals() []os.Signal {
	if signal.Ignored(syscall.SIGHUP) {
		return []os.Signal{os.Interrupt, syscall.SIGTERM}
	}
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}
}
