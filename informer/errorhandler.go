// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/apiary-go/apiary/store"
)

// WatchErrorHandler is told of failures to list or to watch, for those who want
// errors and nothing else; an [Observer] is told of everything. [ErrorObserver]
// makes one of it.
//
// It is called from the goroutine of the Reflector, which waits for it: it should
// return quickly. It decides nothing: the Reflector has not backed off yet, does so
// afterwards, and goes on. Err is never nil, names the request that failed, and is
// meant for [CauseOf], [Explain] and errors.As. Its text is that of a line: what a server
// says is shortened to 1000 bytes, control characters are escaped, and neither values of
// objects nor passwords of URLs are in it. A [SinkError] and a [HandlerError] have the text
// of the sink and of the handler.
type WatchErrorHandler func(info ReflectorInfo, err error)

// DefaultWatchErrorHandler logs err to [slog.Default]. That a version is gone, that
// the server ended a watch, and that the sink asked for a pause or for a new pass
// is for debugging, and so is the end of Run. Anything else is a warning, with what
// to do about it ([Explain]), and so is a [HandlerError], unless it is of a panic, which
// has a report of its own. It logs each failure: how many there are is up to the
// [Backoff]. [LogObserver] is more sparing, and tells of recovery too.
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
			"failures", failed.Failures, "next", failed.RetryIn, "error", err)
		return
	}
	slog.Default().Log(context.Background(), level, failedMessage(cause, err),
		"resource", info.Name, "cause", cause, "error", Explain(err))
}

// ErrorObserver returns an observer that calls h when a pass failed, and when a watch
// failed or could not be opened. It leaves out what is no failure:
//
//   - the end of Run, and a pass that was asked for;
//   - a watch that the server ended in an orderly way;
//   - a sink that returned [store.ErrResync] or a [store.FullError];
//   - a streamed list that is refused: a list in pages follows at once;
//   - a watch that is refused once more while the Reflector polls
//     ([ReflectorInfo.Polling]): h got the refusal that it polls for.
//
// If h is nil it is [DefaultWatchErrorHandler].
func ErrorObserver(h WatchErrorHandler) Observer {
	if h == nil {
		h = DefaultWatchErrorHandler
	}
	return ObserverFunc(func(info ReflectorInfo, o Occurrence) {
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

// noFailure reports whether err is of a sink that wants something, and not one that
// failed.
func noFailure(err error) bool {
	var full *store.FullError
	if errors.As(err, &full) {
		return full.Drained != nil
	}
	return errors.Is(err, store.ErrResync)
}
