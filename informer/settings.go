// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"cmp"
	"fmt"
	"time"
)

// Settings tunes a [Reflector]. The zero value of every field is a useful default.
// Resources, mirrors, batchers and controllers embed Settings in their configurations.
type Settings struct {
	// PageSize is the limit of each list request, in objects. Every list has a limit.
	// Pages become larger, up to eight times this size, only if passes expire again and
	// again before their last page. Default: 500.
	PageSize int64

	// Lists selects how passes are read. Default: [ListAuto].
	Lists ListMode

	// ListBudget limits how many lists are read at a time, by all reflectors that share
	// it. Default: no limit. Resources, mirrors and pushes have [ProcessListBudget] as default.
	ListBudget *ListBudget

	// IdleTimeout is the idle timeout of a request. A watch that brings nothing for so long, not
	// even a bookmark, is ended and resumed, without a list. Servers send a bookmark about
	// every minute. Default: 150s. Negative: no timeout.
	//
	// It applies to list requests as well. Each one that times out doubles the time of the
	// next one, up to 16 times, because a large page over a slow line can take long.
	IdleTimeout time.Duration

	// InitialIdleTimeout is the idle timeout of a streamed pass, until it is complete. A paged
	// list follows one that times out. If the client itself waits for a Retry-After, as
	// client-go does, that time counts for IdleTimeout only. Default: 10s.
	InitialIdleTimeout time.Duration

	// PollInterval is the time from the end of a poll to the next one, while the server
	// lists and refuses to watch: see Polling in the documentation of the package. Up to a
	// tenth is added at random, or less if Backoff.Jitter is less. Default: 30s. Negative:
	// no polling, and a watch that is refused is treated as one that fails otherwise.
	//
	// The sink gets changes late by up to this time. If an object changes several times
	// between two polls, it gets the last state. A poll costs the server a list of the whole
	// collection, in pages, and one watch that it refuses.
	PollInterval time.Duration

	// MaxInternalErrorRetryDuration is how long watches can fail, or be cut, without an
	// event or a newer bookmark before a pass follows: after two of them at least. Default:
	// 1m. At most 24h. Negative: a list follows the first failure.
	//
	// A further watch costs the server one request, and a list the whole collection, while
	// the server is in trouble. A watch that succeeds goes on where the last one ended. So
	// choose more for large collections and many informers, and less if the sink must not
	// be minutes behind. A list that shows nothing new doubles the time to the next one, up
	// to ten times this. For one that shows a change see CheckInterval. A watch that is
	// refused is tried for PollInterval at most, if that is shorter.
	MaxInternalErrorRetryDuration time.Duration

	// CheckInterval is how long watches can be open without an event or a newer bookmark
	// before a pass compares the sink with the server. Default: 10m. At most 24h. Negative:
	// no such pass. The sink then becomes stale, without an error, if a server or a proxy
	// holds back events.
	//
	// A pass that finds nothing doubles the time to the next one, up to six times this: a
	// quiet collection costs about one list an hour, and nothing if the bookmarks of the
	// server become newer. After a pass that finds changes others follow, after PollInterval
	// at first and up to CheckInterval, until a watch brings something. Observers get
	// [Polling] with CauseSilent, then [WatchProved].
	CheckInterval time.Duration

	// ResyncInterval is the time from one pass to the next, also if watches bring changes.
	// Up to a tenth is added at random, or less if Backoff.Jitter is less. It bounds how
	// long the sink can differ from the server unnoticed. Each pass costs the server a list
	// of the whole collection. Default: 0, no such pass. At least 1m, and at most 24h.
	ResyncInterval time.Duration

	// CheckMetadata makes the passes of CheckInterval and ResyncInterval list the metadata
	// of the objects only, in pages. They compare the versions with those of the sink, and
	// remove deleted objects from it. If an object is new or changed, a pass that reads whole
	// objects follows. It follows each time if the sink wants unchanged objects, as a mirror
	// without SkipSync and a Batcher do. Resync always reads whole objects.
	//
	// The Source must be a [MetadataLister], as those of cells and of
	// source.NewListWatchFromClient are. The server reads as many objects as for a list of
	// whole objects, and sends less. Default: false.
	CheckMetadata bool

	// AbsentAfter is how long a kind must be missing on the server before its objects
	// count as deleted. The time begins with the first answer that the kind is not
	// installed. The Reflector then reads the server's list of kinds twice, each time over
	// a new connection. If both lack the kind, the sink gets a pass without objects
	// ([store.ReasonAbsent]), and subscribers of a resource a Delete for each. The Source
	// must be an [AbsenceFinder], as those of cells are. It costs the server two requests.
	// Default: 10m. At most 24h. Negative: the objects stay.
	AbsentAfter time.Duration

	// Backoff spaces requests after failures.
	Backoff Backoff
}

// ListMode selects how a pass is read.
type ListMode int

const (
	// ListAuto streams the initial events of a watch if the source and the server can do
	// so and the sink does not block. Otherwise it lists in pages.
	ListAuto ListMode = iota

	// ListPaged always lists in pages.
	ListPaged

	// ListStreamed is ListAuto, also for sinks whose calls can block.
	ListStreamed
)

// complete checks the settings and fills in the defaults.
func (s *Settings) complete() error {
	if s.PageSize < 0 {
		return fmt.Errorf("Settings.PageSize is %d: give a positive number of objects, or 0 for the default of %d; every list has a limit",
			s.PageSize, defaultPageSize)
	}
	if s.Lists < ListAuto || s.Lists > ListStreamed {
		return fmt.Errorf("Settings.Lists is %d: give ListAuto, ListPaged or ListStreamed", s.Lists)
	}
	if err := s.ListBudget.validate(); err != nil {
		return fmt.Errorf("Settings.ListBudget: %w", err)
	}
	if s.InitialIdleTimeout < 0 {
		return fmt.Errorf("Settings.InitialIdleTimeout is %v: give a positive duration, or set Settings.Lists to ListPaged for no streamed lists", s.InitialIdleTimeout)
	}
	s.PageSize = cmp.Or(s.PageSize, defaultPageSize)
	s.IdleTimeout = cmp.Or(s.IdleTimeout, defaultIdleTimeout)
	s.InitialIdleTimeout = cmp.Or(s.InitialIdleTimeout, defaultInitialIdleTimeout)
	s.PollInterval = cmp.Or(s.PollInterval, defaultPollInterval)
	s.MaxInternalErrorRetryDuration = cmp.Or(s.MaxInternalErrorRetryDuration, defaultFailing)
	s.CheckInterval = cmp.Or(s.CheckInterval, defaultCheckInterval)
	s.AbsentAfter = cmp.Or(s.AbsentAfter, defaultAbsentAfter)
	if s.ResyncInterval != 0 && s.ResyncInterval < time.Minute {
		return fmt.Errorf("Settings.ResyncInterval is %v: give a minute or more, or 0 for none", s.ResyncInterval)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"MaxInternalErrorRetryDuration", s.MaxInternalErrorRetryDuration},
		{"CheckInterval", s.CheckInterval},
		{"ResyncInterval", s.ResyncInterval},
		{"AbsentAfter", s.AbsentAfter},
	} {
		if d.value > longestInterval {
			return fmt.Errorf("%s is %v: give %v or less", "Settings."+d.name, d.value, longestInterval)
		}
	}
	if err := s.Backoff.Complete(); err != nil {
		return fmt.Errorf("Settings.%w", err)
	}
	return nil
}
