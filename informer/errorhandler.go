// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/apiary-go/apiary/store"
)

// WatchErrorHandler is called when a list or a watch fails. An [Observer] gets all
// occurrences. [ErrorObserver] makes an Observer of a WatchErrorHandler.
//
// The Reflector calls it on its goroutine and waits, so it should return quickly. It has no
// influence: the Reflector backs off afterwards and goes on. err is never nil. It names the
// request that failed, and is for [CauseOf], [Explain] and errors.As. Its text is one line
// without control characters, values of objects and passwords of URLs. The text of a server
// is cut after 1000 bytes. A [SinkError] and a [HandlerError] have the unchanged text of the
// sink and of the handler.
type WatchErrorHandler func(info ReflectorInfo, err error)

// DefaultWatchErrorHandler logs err to [slog.Default], as a warning with advice ([Explain]).
// It logs at debug level if a version has expired, the server ended a watch, the sink
// returned [store.ErrResync] or a [store.FullError], or Run ends. A [HandlerError] of a panic
// is at debug level too, because the panic has its own report. It logs each failure, so the
// [Backoff] sets the rate. [LogObserver] logs fewer lines, and recovery too.
func DefaultWatchErrorHandler(info ReflectorInfo, err error) {
	if err == nil {
		return
	}
	level := slog.LevelWarn
	cause := CauseOf(err)
	switch cause {
	case CauseExpired, CauseClosed, CauseCanceled:
		level = slog.LevelDebug
	case CauseSink:
		if noFailure(err) {
			level = slog.LevelDebug
		}
	}
	if failed := (*HandlerError)(nil); errors.As(err, &failed) {
		if errors.As(err, new(*store.PanicError)) {
			level = slog.LevelDebug
		}
		slog.Default().Log(context.Background(), level, "A change could not be handled, will try again", "resource", info.Name, "key", failed.Meta.Key,
			"retries", failed.Failures-1, "next", failed.RetryIn, "error", err)
		return
	}
	slog.Default().Log(context.Background(), level, failedMessage(cause, err),
		"resource", info.Name, "cause", cause, "error", Explain(err))
}

// ErrorObserver returns an observer that calls h when a pass failed, and when a watch failed
// or could not be opened. If h is nil, it calls [DefaultWatchErrorHandler]. It does not call h
// for what is no failure:
//
//   - Run ends, or Resync ends the watch.
//   - The server ends a watch in an orderly way.
//   - The sink returns [store.ErrResync] or a [store.FullError].
//   - The server refuses a streamed list. A list in pages follows at once.
//   - The server refuses the watch again while the Reflector polls
//     ([ReflectorInfo].Polling). h got the first refusal.
func ErrorObserver(h WatchErrorHandler) Observer {
	if h == nil {
		h = DefaultWatchErrorHandler
	}
	return ObserverFunc(func(info ReflectorInfo, o ReflectorEvent) {
		var (
			err   error
			cause Cause
		)
		switch o := o.(type) {
		case ListFailed:
			err, cause = o.Err, o.Cause
			if o.Streamed && pagesFollow(cause, err) {
				return
			}
		case WatchEnded:
			err, cause = o.Err, o.Cause
			if info.Polling != nil && info.Polling.Cause == cause {
				return
			}
		}
		if err == nil || cause == CauseCanceled || cause == CauseClosed || noFailure(err) {
			return
		}
		h(info, err)
	})
}

// noFailure reports whether err is the request of a sink for a pause or a new pass.
func noFailure(err error) bool {
	var full *store.FullError
	if errors.As(err, &full) {
		return full.Drained != nil
	}
	return errors.Is(err, store.ErrResync)
}
