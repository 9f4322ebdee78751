// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/apiary-go/apiary/informer"
)

// mostRecent is how many events a recorder keeps.
const mostRecent = 50

// recorder is an observer that keeps the last events as texts. They are those of
// informer.LogObserver, for which it is the handler of a logger.
type recorder struct {
	observer informer.Observer

	mu     sync.Mutex
	events []RecentEvent
	next   int // the oldest of events, if there are mostRecent
}

func newRecorder() *recorder {
	r := &recorder{}
	r.observer = informer.LogObserver(slog.New(recordHandler{r}))
	return r
}

// Observe implements informer.Observer.
func (r *recorder) Observe(info informer.ReflectorInfo, o informer.ReflectorEvent) {
	switch o := o.(type) {
	case informer.PageRead:
		return
	case informer.ConsumerFailed:
		if o.Quiet {
			return
		}
	}
	r.observer.Observe(info, o)
}

// recent returns the events, the newest at the end.
func (r *recorder) recent() []RecentEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(slices.Clone(r.events[r.next:]), r.events[:r.next]...)
}

func (r *recorder) add(e RecentEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) < mostRecent {
		r.events = append(r.events, e)
		return
	}
	r.events[r.next] = e
	r.next = (r.next + 1) % mostRecent
}

// recordHandler is the slog.Handler of a recorder.
type recordHandler struct{ recorder *recorder }

// Enabled implements slog.Handler.
func (recordHandler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler. The attributes are the name, which is known.
func (h recordHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h recordHandler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h recordHandler) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if value := a.Value.Resolve().Any(); value != nil && fmt.Sprint(value) != "" {
			fmt.Fprintf(&text, " %s=%v", a.Key, value)
		}
		return true
	})
	h.recorder.add(RecentEvent{Time: r.Time, Level: r.Level.String(), Text: text.String()})
	return nil
}
