// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/internal/redact"
)

// klogTo is where klog's messages go, nil for slog.Default.
var klogTo atomic.Pointer[slog.Logger]

// takeOverKlog sets the logger of klog. This is not safe while klog is in use, so it is
// done once. Later changes are made in klogTo.
var takeOverKlog = sync.OnceFunc(func() {
	klog.SetSlogLogger(slog.New(klogHandler{wrap: func(h slog.Handler) slog.Handler { return h }}))
})

// klogHandler passes everything on to what klogTo points to at the moment.
type klogHandler struct {
	// wrap adds the attributes and groups of this logger.
	wrap func(slog.Handler) slog.Handler
}

func (klogHandler) to() slog.Handler {
	if l := klogTo.Load(); l != nil {
		return l.Handler()
	}
	return slog.Default().Handler()
}

// Enabled implements slog.Handler.
func (h klogHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to().Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h klogHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.wrap(h.to()).Handle(ctx, redacted(r))
}

// redacted shortens texts of the server, such as its warnings, and removes what errors
// quote. Debug messages, which include bodies, are not changed.
func redacted(r slog.Record) slog.Record {
	if r.Level < slog.LevelInfo {
		return r
	}
	short := slog.NewRecord(r.Time, r.Level, redact.Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.Any().(type) {
		case string:
			a.Value = slog.StringValue(redact.Text(v))
		case error:
			a.Value = slog.AnyValue(redact.Error(v))
		}
		short.AddAttrs(a)
		return true
	})
	return short
}

// WithAttrs implements slog.Handler.
func (h klogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return klogHandler{func(to slog.Handler) slog.Handler { return h.wrap(to).WithAttrs(attrs) }}
}

// WithGroup implements slog.Handler.
func (h klogHandler) WithGroup(name string) slog.Handler {
	return klogHandler{func(to slog.Handler) slog.Handler { return h.wrap(to).WithGroup(name) }}
}
