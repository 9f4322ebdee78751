// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// LogObserver returns an observer that writes what happens to logger.
//
// Warnings say what failed (the list, the watch or the sink), why, and what to do about
// it. A failure that repeats is logged at its first, second, fourth, eighth occurrence and
// so on, the others for debugging; omitted is how many were left out before. A success
// after failures is information, with their number and how long they lasted. So is a
// completed pass that is no poll, and the end of polling. An object that cannot be decoded
// is a warning, once until it can be. The rest is for debugging. The
// observer can serve any number of reflectors.
func LogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return ObserverFunc(func(info ReflectorInfo, o Occurrence) {
		log := logger.With("resource", info.Name)
		switch o := o.(type) {
		case ListStarted:
			log.Debug("Listing", "reason", o.Pass.Reason, "epoch", o.Pass.Epoch, "streamed", o.Streamed)
		case PageRead:
			log.Debug("Page read", "page", o.Number, "objects", o.Objects, "remaining", o.Remaining)
		case ListDone:
			if o.Pass.Reason == store.ReasonAbsent {
				log.Warn("The kind is not installed any more, its objects are taken for deleted", "error", o.Pass.Cause)
				return
			}
			level := slog.LevelInfo
			if o.Pass.Reason == store.ReasonPoll || o.Pass.Reason == store.ReasonCheck {
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "List is complete", "reason", o.Pass.Reason, "version", o.Version, "objects", o.Objects,
				"decoded", o.Decoded, "streamed", o.Streamed, "took", o.Took)
		case ListFailed:
			log.Debug("List broke off", "cause", o.Cause, "error", o.Err)
		case WatchOpened:
			if info.Polling != nil && info.Polling.Cause != CauseSilent {
				log.Info("Watching, no longer polling", "version", o.Version, "after", info.Polling.Cause)
			} else {
				log.Debug("Watching", "version", o.Version)
			}
		case WatchEnded:
			log.Debug("Watch ended", "cause", o.Cause, "version", o.Version, "events", o.Events, "lived", o.Lived, "error", o.Err)
		case RelistNeeded:
			level := slog.LevelInfo
			if o.Reason == store.ReasonCheck { // nothing is wrong
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "Listing again", "reason", o.Reason, "error", o.Err)
		case WatchListUnavailable:
			log.Info("The server does not stream its lists, using pages", "until", o.Retry, "error", o.Err)
		case BackingOff:
			logBackingOff(log, o)
		case Recovered:
			log.Info("Synced again", "failures", o.Failures, "after", o.After.Round(time.Millisecond), "cause", o.Cause)
		case Polling:
			log.Warn("Cannot watch, polling", "cause", o.Cause, "every", o.Every, "error", o.Err, "advice", o.advice())
		case CheckDiffers:
			log.Debug("The metadata differs, listing whole objects", "key", o.Key, "reason", o.Pass.Reason)
		case Missed:
			log.Warn("Watch missed changes, the list has mended it", "count", o.Count, "key", o.Key, "reason", o.Pass.Reason)
		case WatchProved:
			log.Info("The watch brings changes again, no longer polling", "version", o.Version)
		case VersionsUnordered:
			log.Warn("The server's versions cannot be compared: applying events in the order in which they come",
				"key", o.Meta.Key, "version", o.Meta.Version, "from", o.From)
		case ObjectLeftOut:
			log.Warn("Object cannot be decoded, left out", "key", redact.Text(o.Meta.Key.String()), "error", o.Err)
		case LeftOutEnded:
			log.Info("Object is no longer left out", "key", redact.Text(o.Key.String()))
		case Draining:
			log.Debug("The sink is full, waiting for it")
		case WentBackwards:
			log.Warn("The server has an older state than before, as after a restore: taking it as the truth", "from", o.From, "to", o.To)
		}
	})
}

func logBackingOff(log *slog.Logger, o BackingOff) {
	level := slog.LevelDebug
	attrs := []any{"cause", o.Cause, "failures", o.Failure, "next", o.For, "error", Explain(o.Err)}
	if shown, omitted := check.IsShown(o.Repeated + 1); shown {
		level = slog.LevelWarn
		if omitted > 0 {
			attrs = append(attrs, "omitted", omitted)
		}
	}
	log.Log(context.Background(), level, failedMessage(o.Cause, o.Err), attrs...)
}

// failedMessage is the message of a failure in a log.
func failedMessage(cause Cause, err error) string {
	what := whatFailed(cause, err)
	return strings.ToUpper(what[:1]) + what[1:] + ", will try again"
}
