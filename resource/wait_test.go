// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A call of Store that waits is logged after ten seconds, and then ever more rarely. One
// before the start is logged at once, with advice.
func TestStoreThatWaitsIsLogged(t *testing.T) {
	for name, tt := range map[string]struct {
		start bool
		waits time.Duration
		lines []string
	}{
		"short":            {true, 9 * time.Second, nil},
		"long":             {true, 45 * time.Second, []string{"waited=10s ", "waited=20s ", "waited=40s "}},
		"before the start": {false, 9 * time.Second, []string{"waited=1s "}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var out bytes.Buffer
				r := newRig(t, WithName("pods"), WithLogger(slog.New(slog.NewTextHandler(&out, nil))))
				if tt.start {
					r.start()
					defer r.stop()
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.waits)
				defer cancel()
				if _, err := r.view.Store(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Store returned %v", err)
				}
				lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
				if out.Len() == 0 {
					lines = nil
				}
				if len(lines) != len(tt.lines) {
					t.Fatalf("%d lines:\n%s", len(lines), &out)
				}
				for i, want := range tt.lines {
					if !strings.Contains(lines[i], `level=WARN msg="A call of Store waits" resource=pods `+want) {
						t.Errorf("%s\nlacks %s", lines[i], want)
					}
					if got := strings.Contains(lines[i], "a constructor or Invoke function must not wait"); got == tt.start {
						t.Errorf("%s\nhas the advice for constructors: %v", lines[i], got)
					}
				}
			})
		})
	}
}
