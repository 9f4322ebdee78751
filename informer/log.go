// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"log/slog"
	"math/bits"

	"github.com/apiary-go/apiary/store"
)

// LogObserver returns an observer that writes what happens to logger.
//
// What needs somebody's attention is a warning, with what to do about it:
// failures that are retried, polling for want of a watch, and a server that went
// back in time. Of failures in a row the first is logged so, then the second, the
// fourth, the eighth and so on; the others are for debugging. A completed pass, and
// whatever overcomes a failure or ends polling, is information. The rest, such as
// watches that end and are resumed, and polls that succeed, is for debugging. It
// may serve any number of reflectors.
func LogObserver(logger *slog.Logger) Observer {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return ObserverFunc(func(info ReflectorInfo, o Occurrence) {
		log := logger.With("reflector", info.Name)
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
			if (o.Pass.Reason == store.ReasonPoll || o.Pass.Reason == store.ReasonCheck) && info.Err == nil {
				level = slog.LevelDebug
			}
			log.Log(context.Background(), level, "List is complete", "reason", o.Pass.Reason, "version", o.Version, "objects", o.Objects,
				"decoded", o.Decoded, "streamed", o.Streamed, "took", o.Took)
		case ListFailed:
			log.Debug("List broke off", "cause", o.Cause, "error", o.Err)
		case WatchOpened:
			if info.Polling != nil && info.Polling.Cause != CauseSilent {
				log.Info("Watching, no longer polling", "version", o.Version, "after", info.Polling.Cause)
			} else if info.Err != nil {
				log.Info("Watching again", "version", o.Version, "after", info.Cause)
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
			level := slog.LevelDebug
			if bits.OnesCount(uint(o.Failure)) == 1 {
				level = slog.LevelWarn
			}
			log.Log(context.Background(), level, "Cannot list or watch, will try again",
				"cause", o.Cause, "failures", o.Failure, "in", o.For, "error", Explain(o.Err))
		case Polling:
			log.Warn("Cannot watch, polling", "cause", o.Cause, "every", o.Every, "error", o.Err, "advice", o.advice())
		case WatchProved:
			log.Info("The watch brings changes again, no longer polling", "version", o.Version)
		case VersionsUnordered:
			log.Warn("The server's versions cannot be compared: applying events in the order in which they come",
				"key", o.Meta.Key, "version", o.Meta.Version, "from", o.From)
		case Draining:
			log.Debug("The sink is full, waiting for it")
		case WentBackwards:
			log.Warn("The server has an older state than before, as after a restore: taking it as the truth", "from", o.From, "to", o.To)
		}
	})
}
