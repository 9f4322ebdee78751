// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package logtest lets tests read the default log.
package logtest

import (
	"log"
	"log/slog"
	"testing"
)

// SetDefault makes h the handler of slog.Default() until the end of the test. Other tests
// must not run at the same time.
func SetDefault(tb testing.TB, h slog.Handler) {
	logger, writer, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(h))
	tb.Cleanup(func() {
		slog.SetDefault(logger)
		log.SetOutput(writer) // slog.SetDefault has changed these, and does not change them back
		log.SetFlags(flags)
	})
}
