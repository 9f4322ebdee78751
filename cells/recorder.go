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

// A recorder keeps mostRecent events, and mostQuiet of debug level.
const (
	mostRecent = 50
	mostQuiet  = 20
)

// recorder is an observer that keeps the last events as texts. They are those of
// informer.LogObserver, for which it is the handler of a logger. Quiet events, such as the
// normal end of a watch, do not evict the others, so a failure is kept for longer.
type recorder struct {
	observer informer.Observer

	mu     sync.Mutex
	events []RecentEvent // the oldest first
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
	return slices.Clone(r.events)
}

func (r *recorder) add(e RecentEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	oldest, count := -1, 0 // of those that are as quiet as e
	for i, other := range r.events {
		if other.isQuiet() == e.isQuiet() {
			count++
			if oldest < 0 {
				oldest = i
			}
		}
	}
	if e.isQuiet() && count > mostQuiet || count > mostRecent {
		r.events = slices.Delete(r.events, oldest, oldest+1)
	}
}

func (e RecentEvent) isQuiet() bool { return e.Level == slog.LevelDebug.String() }

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
