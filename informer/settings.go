// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"fmt"
	"time"
)

// Settings tunes a [Reflector]. The zero value of every field is a useful default.
// What is made of a Reflector embeds Settings in its own configuration: resources,
// mirrors, batchers and controllers.
type Settings struct {
	// PageSize is the limit of each list request, in objects. It holds for
	// every list, recovery included. Only if a pass expires again and again
	// before its last page are pages made larger, to eight times this size at
	// most. Default 500.
	PageSize int64

	// Lists says how passes are read. Default [ListAuto].
	Lists ListMode

	// ListBudget limits, together with other reflectors that have the same one,
	// how many lists are read at a time. Default: no limit.
	ListBudget *ListBudget

	// Silence is how long a watch may bring nothing, not even a bookmark,
	// before its connection is given up for dead; the watch is then resumed,
	// without a list. Default 150 s: servers send a bookmark about every
	// minute. Negative: for ever.
	//
	// A list request, too, may bring nothing for this long; each time that one
	// fails so, the next may take twice as long, since a large page over a slow
	// line cannot be told from a dead one by its source.
	Silence time.Duration

	// InitialSilence is the same for a watch that has yet to bring its initial
	// events, after which a paged list is tried. Default 10 s. The time that a
	// client waits within a request because the server told it to, as client-go
	// does, counts for Silence only.
	InitialSilence time.Duration

	// PollInterval is how often there is a pass while the server lists and
	// refuses to watch (see Polling in the documentation of the package): the
	// time from the end of one to the beginning of the next, with up to a tenth
	// added at random, or less if Backoff.Jitter is less. Default 30 s. Negative:
	// never; the watch is then tried again like one that fails otherwise.
	//
	// Changes are told late by this much, and of several to an object between two
	// polls only the last. A poll costs the server the whole collection, in
	// pages, and one watch that it refuses: with the default, and a collection of
	// one page, four requests a minute.
	PollInterval time.Duration

	// MaxInternalErrorRetryDuration is how long watches can fail, or be cut, and bring
	// neither an event nor a newer bookmark, before a pass: two of them at least.
	// Default: a minute. At most 24 h. Negative: a list follows the first failure.
	//
	// A further watch costs the server one request, and nothing is missed: a watch that
	// succeeds goes on where the last one ended. A list costs it the whole collection,
	// at a moment when it is in trouble. In return, it gets through if only this
	// version, or watching, fails. So make this longer for large collections and many
	// informers, and shorter if the sink must not be behind for minutes. Where a list
	// shows nothing new, the next one follows after twice that time, up to ten times
	// this: six lists an hour. Where it shows something new, see CheckInterval. A watch
	// that is refused is tried again for PollInterval at most, if that is shorter.
	MaxInternalErrorRetryDuration time.Duration

	// CheckInterval is how long watches can be open and bring neither an event nor a
	// newer bookmark before a pass compares the sink with the server. Default 10
	// minutes. At most 24 h. Negative: never; then a server or a proxy that holds back
	// events without an error makes the sink stale, and nothing says so.
	//
	// Each comparison that finds nothing doubles the time, up to six times this. So a
	// quiet collection costs about one list an hour, and nothing on a server whose
	// bookmarks become newer. A comparison that finds changes is followed by others,
	// every PollInterval at first and up to CheckInterval, until a watch brings something
	// ([Polling] with CauseSilent, then [WatchProved]).
	CheckInterval time.Duration

	// ResyncInterval is how long after a pass the next one begins, whatever the watches
	// bring. Up to a tenth is added at random, or less if Backoff.Jitter is less. It bounds
	// how long the sink can differ from the server unnoticed. Default 0: no such pass. At
	// least a minute, and at most 24 h. It costs the server one list of the whole
	// collection each time.
	ResyncInterval time.Duration

	// CheckMetadata has passes for CheckInterval and ResyncInterval read the metadata of the
	// objects only, in pages, and decode nothing: they compare the versions with those of
	// the sink. What was deleted goes from the sink. If an object is new or changed, a pass
	// that reads whole objects follows. So a sink that wants unchanged objects, such as a
	// mirror without SkipSync, or a Batcher, gets such a pass each time. Others are not
	// affected: what Resync asks for is whole. It takes a Source that is a
	// [MetadataLister]; those of cells, and of source.NewListWatchFromClient, are. Default
	// false. It costs the server as many reads as a list of whole objects, of which it sends
	// less: nothing at rest beyond what the two intervals cost.
	CheckMetadata bool

	// AbsentAfter is how long after the first answer that the kind is not installed its
	// objects are taken for deleted: the sink gets a pass without objects
	// ([store.ReasonAbsent]). Before that, two answers in a row, each over a connection
	// of its own, must describe what the server has, without the kind. It takes a Source
	// that is an [AbsenceFinder]; those of cells are. Default 10 minutes. At most 24 h.
	// Negative: never; the objects of a kind that was removed then stay. It costs the
	// server two requests for each time that a kind is removed.
	AbsentAfter time.Duration

	// Backoff spaces requests after failures.
	Backoff Backoff
}

// ListMode says how a pass is read.
type ListMode int

const (
	// ListAuto streams the initial events of a watch if the source and the
	// server can and the sink does not block, and lists in pages otherwise.
	ListAuto ListMode = iota

	// ListPaged always lists in pages.
	ListPaged

	// ListStreamed is ListAuto for sinks that may block as well.
	ListStreamed
)

// complete checks the settings and fills in the defaults.
func (s *Settings) complete() error {
	if s.PageSize < 0 {
		return fmt.Errorf("Settings.PageSize is %d: give a positive number of objects, or 0 for the default of %d; lists are never unlimited",
			s.PageSize, defaultPageSize)
	}
	if s.PageSize == 0 {
		s.PageSize = defaultPageSize
	}
	if s.Lists < ListAuto || s.Lists > ListStreamed {
		return fmt.Errorf("Settings.Lists is %d: give ListAuto, ListPaged or ListStreamed", s.Lists)
	}
	if err := s.ListBudget.validate(); err != nil {
		return fmt.Errorf("Settings.ListBudget: %w", err)
	}
	if s.Silence == 0 {
		s.Silence = defaultSilence
	}
	if s.InitialSilence < 0 {
		return fmt.Errorf("Settings.InitialSilence is %v: give a positive duration, or Lists: ListPaged if initial events are not wanted", s.InitialSilence)
	}
	if s.InitialSilence == 0 {
		s.InitialSilence = defaultInitialSilence
	}
	if s.PollInterval == 0 {
		s.PollInterval = defaultPollInterval
	}
	if s.MaxInternalErrorRetryDuration == 0 {
		s.MaxInternalErrorRetryDuration = defaultFailing
	}
	if s.CheckInterval == 0 {
		s.CheckInterval = defaultCheckInterval
	}
	if s.AbsentAfter == 0 {
		s.AbsentAfter = defaultAbsentAfter
	}
	if s.ResyncInterval != 0 && s.ResyncInterval < time.Minute {
		return fmt.Errorf("Settings.ResyncInterval is %v: give a minute or more, or 0 for none", s.ResyncInterval)
	}
	for name, d := range map[string]time.Duration{
		"MaxInternalErrorRetryDuration": s.MaxInternalErrorRetryDuration,
		"CheckInterval":                 s.CheckInterval,
		"ResyncInterval":                s.ResyncInterval,
		"AbsentAfter":                   s.AbsentAfter,
	} {
		if d > longestInterval {
			return fmt.Errorf("%s is %v: give %v or less", "Settings."+name, d, longestInterval)
		}
	}
	if err := s.Backoff.Complete(); err != nil {
		return fmt.Errorf("Settings.%w", err)
	}
	return nil
}
