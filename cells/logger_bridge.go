// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	sloglogrus "github.com/samber/slog-logrus/v2"
	"github.com/sirupsen/logrus"
)

// newBridge returns the handler that passes records to logrus.
func newBridge(l *logrus.Logger) slog.Handler {
	return sloglogrus.Option{Level: levelTrace, Logger: l}.NewLogrusHandler()
}

// handler is the slog.Handler in front of the bridge. It does what the bridge does
// not:
//
//   - The level may change while loggers exist.
//   - Levels between the named ones, as klog's verbosities are, are mapped to the
//     named one below. The bridge would take them for a panic.
//   - Errors and durations are printed as their text, in groups too. The bridge
//     would print the fields of the one and the nanoseconds of the other.
//   - Loggers that are derived from one another share nothing that is written to.
type handler struct {
	backend *loggerBackend
	scopes  []derived
}

// derived is a call of WithAttrs or of WithGroup.
type derived struct {
	group string // or
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.backend.level.Level()
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	own := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		own[i] = readable(a)
	}
	return h.with(derived{attrs: own})
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(derived{group: name})
}

func (h *handler) with(s derived) *handler {
	return &handler{backend: h.backend, scopes: append(slices.Clip(h.scopes), s)}
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	attrs := make([]slog.Attr, 0, record.NumAttrs()+len(h.scopes))
	record.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, readable(a))
		return true
	})
	// From the innermost scope outwards: what is inside of a group becomes its
	// value.
	for _, s := range slices.Backward(h.scopes) {
		if s.group == "" {
			attrs = append(slices.Clone(s.attrs), attrs...)
		} else if len(attrs) > 0 {
			attrs = []slog.Attr{{Key: s.group, Value: slog.GroupValue(attrs...)}}
		}
	}
	plain := slog.NewRecord(record.Time, named(record.Level), record.Message, record.PC)
	plain.AddAttrs(attrs...)
	return h.backend.bridge.Handle(ctx, plain)
}

// readable replaces an error, or a duration, by its text.
func readable(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch v := a.Value.Any().(type) {
	case error:
		// Not v.Error(), which may panic: there are errors that are nil pointers.
		a.Value = slog.StringValue(fmt.Sprint(v))
	case time.Duration:
		a.Value = slog.StringValue(v.String())
	case []slog.Attr:
		group := make([]slog.Attr, len(v))
		for i := range v {
			group[i] = readable(v[i])
		}
		a.Value = slog.GroupValue(group...)
	}
	return a
}

// named returns the highest named level that is not above level; the lowest is
// debug.
func named(level slog.Level) slog.Level {
	switch {
	case level >= slog.LevelError:
		return slog.LevelError
	case level >= slog.LevelWarn:
		return slog.LevelWarn
	case level >= slog.LevelInfo:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}
