// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package status tells whether objects are what their spec asks for: for programs
// that apply and wait, that deploy step by step, or that report the health of what they
// manage.
//
//	engine, err := status.New(status.Config{Dynamic: client, Mapping: status.ByMapper(mapper)})
//	…
//	_, err = engine.Wait(ctx, ids, status.OrFailed(status.All(status.Current)))
//
// # Two engines
//
// An [Engine] watches. It opens what is needed to follow the objects that somebody asks
// for, shares it among all who ask, and tells what changes: see [Engine.Watch],
// [Engine.Wait] and [Engine.ClusterReader]. Evaluations make no requests, and where
// nothing changes there are none. It costs a connection for each kind and namespace, and
// memory for what is in there, trimmed to what the rules read; an object by itself
// costs a connection only for itself. With [Config.Stream], as in cells, what the rules
// do not read is not even decoded.
//
// A [PollerEngine] reads all objects again and again, and can be given other readers of
// statuses. It costs nothing between its cycles, and is for who has such readers, or
// asks rarely. With the CachedReader of an Engine as its reader it polls memory.
//
// # Statuses
//
// The [Rules] are those of kstatus, and can be replaced for a kind. What they say, and
// what is said where they cannot be asked, are the values of [Status]: an object that
// the server says it does not have is NotFound; one that cannot be read is Unknown with
// a [Reason], and does not keep the others from being told. Errors are values of an
// object's status; no error of one object ends a watch.
//
// # Files
//
//   - status.go, event.go: what is told
//   - rules.go and its neighbours: the rules, and what of an object they read
//   - engine.go, watch.go, evaluate.go, wait.go: the engine that watches
//   - reach.go, lease.go, source.go, scope.go: what it watches, by what it may
//   - cachedreader.go: reading from what it watches
//   - poller.go and its neighbours: the engine that polls
package status
