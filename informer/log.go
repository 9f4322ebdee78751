// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// LogObserver returns an observer that logs occurrences to logger. Nil: it logs nothing. It
// can serve any number of reflectors.
//
//   - Warn: what failed (the list, the watch or the sink), why, and what to do. A failure
//     that repeats is logged at its first, second, fourth, eighth occurrence and so on, with
//     the number of lines that were omitted, and at debug level otherwise. Also polling, an
//     object that is left out, missed changes, versions that cannot be compared or are older
//     than before, and a kind that is no longer installed. A consumer that fails: the first
//     failure, and then at most one in an interval that grows from a second to a minute, with
//     the number of lines that were omitted.
//   - Info: a success after failures, with their number and duration; a completed pass,
//     except of polls and checks; the reason of a new pass, except of checks; the end of
//     polling; an object that is decoded again; namespaces that are added and removed; a
//     server without streamed lists; a change that a consumer accepts after a minute of
//     failures or more; the stop of a resource that is not in use, and its next start.
//   - Debug: the rest.
func LogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return ObserverFunc(func(info ReflectorInfo, o ReflectorEvent) {
		log := logger.With("resource", info.Name)
		if info.Namespace != "" {
			log = log.With("namespace", info.Namespace)
		}
		switch o := o.(type) {
		case ListStarted:
			log.Debug("Listing", "reason", o.Pass.Reason, "epoch", o.Pass.Epoch, "streamed", o.Streamed)
		case PageRead:
			log.Debug("Page read", "page", o.Number, "objects", o.Objects, "remaining", o.Remaining)
		case ListDone:
			if o.Pass.Reason == store.ReasonAbsent {
				log.Warn("Kind is no longer installed, its objects count as deleted", "error", o.Pass.Cause)
				return
			}
			level := slog.LevelInfo
			if o.Pass.Reason == store.ReasonPoll || o.Pass.Reason == store.ReasonCheck {
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "List is complete", "reason", o.Pass.Reason, "version", o.Version, "objects", o.Objects,
				"decoded", o.Decoded, "streamed", o.Streamed, "took", o.Took)
		case ListFailed:
			log.Debug("List failed", "cause", o.Cause, "error", o.Err)
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
			log.Info("The server does not support streamed lists, using pages", "until", o.Retry, "error", o.Err)
		case BackingOff:
			logBackingOff(log, o)
		case Recovered:
			log.Info("Synced again", "failures", o.Failures, "after", o.After.Round(time.Millisecond), "cause", o.Cause)
		case Polling:
			log.Warn("Cannot watch, polling", "cause", o.Cause, "every", o.Every, "error", o.Err, "advice", o.advice())
		case CheckDiffers:
			log.Debug("The metadata differs, listing whole objects", "key", o.Key, "reason", o.Pass.Reason)
		case Missed:
			log.Warn("Watch missed changes, the list has brought them", "count", o.Count, "key", o.Key, "reason", o.Pass.Reason)
		case WatchProved:
			log.Info("The watch brings changes again, no longer polling", "version", o.Version)
		case VersionsUnordered:
			log.Warn("Versions of the server cannot be compared, applying events in order of arrival",
				"key", o.Meta.Key, "version", o.Meta.Version, "from", o.From)
		case ObjectLeftOut:
			log.Warn("Object cannot be decoded, left out", "key", redact.Text(o.Meta.Key.String()), "error", o.Err)
		case LeftOutEnded:
			log.Info("Object is no longer left out", "key", redact.Text(o.Key.String()))
		case NamespacesChanged:
			log.Info("Namespaces changed", "namespaces", o.Count, "added", some(o.Added), "removed", some(o.Removed))
		case Draining:
			log.Debug("The sink is full, waiting for it")
		case ConsumerFailed:
			logConsumerFailed(log, o)
		case ConsumerRecovered:
			logConsumerRecovered(log, o)
		case StoppedUnused:
			log.Info("Not in use, stopped until the next use", "since", o.Since)
		case UsedAgain:
			log.Info("In use again, starting")
		case WentBackwards:
			log.Warn("The server has an older state than before, as after a restore, accepting it", "from", o.From, "to", o.To)
		}
	})
}

// some returns the first names of a list that can be long.
func some(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
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
