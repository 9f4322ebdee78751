// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package informer follows a collection of a Kubernetes API server and tells a
// [store.Sink] of it: a [Source] says how objects are read, a [Reflector] when.
//
//	source := informer.FromListerWatcher[*corev1.Pod](listWatch, nil)
//	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: source, Sink: sink})
//	…
//	err = reflector.Run(ctx) // until ctx ends
//
// A [mirror.ResourceVersionInformer] stands on that: it mirrors a collection to a handler,
// such as one that writes to a database, and keeps only versions; see "Mirrors". A
// [push.Batcher] pushes it to a remote consumer; see "Snapshots and batches".
//
// # States
//
// A Reflector starts with a pass: one complete statement of the collection. It
// then watches from the version of the pass. A watch that ends is resumed from
// the last version that the sink accepted, be it that of an event or of a
// bookmark.
//
//	idle ──▶ listing ──▶ watching ──▶ idle (ctx ended)
//	           ▲  │          │  ▲
//	           │  ▼          ▼  │
//	    backing off, draining, polling
//
// A further pass is made only if
//
//   - the server says that the version is gone: 410 with the reason Expired or
//     Gone, or that it has not got that far, as after a restore
//     ([store.ReasonExpired]). Two bookmarks in a row that are older than what
//     was delivered mean the same, and so does the end of a watch of a server
//     that gives no versions;
//   - the sink returned [store.ErrResync], or [Reflector.Resync] was called
//     ([store.ReasonAsked]);
//   - the server goes on answering a watch with failures
//     ([store.ReasonFailing]): two in a row if the kind is not installed (any
//     more), five of another sort that stays as it is (an object that cannot be
//     decoded, a request that is rejected), one or more that refuse the watch
//     (see Polling), or five minutes of any other
//     ([Config.MaxInternalErrorRetryDuration]). A server that cannot be reached
//     is not asked for a list on top;
//   - the Reflector polls ([store.ReasonPoll]).
//
// # Polling
//
// Some may list and not watch: they were not granted the verb, or the kind does
// not offer it, as those of metrics.k8s.io, or something between them and the
// server lets only lists through. The Reflector then polls: there is a pass
// [Config.PollInterval] after the last one, and so on. It is like any other, in
// pages: unchanged objects cost no decoding where the sink holds them, what is
// missing is gone, [Config.ListBudget] holds, and a failure is followed by the
// [Backoff] and another attempt.
//
// It begins when a pass was committed, and the watch that should follow cannot be
// opened because the server
//
//   - does not offer it: 405, at the first such answer;
//   - forbids it (403), or does not find it (404): at the second in a row, after a
//     backoff, since the first may come from a server that has yet to learn of a
//     role or a kind.
//
// If a watch was open since the last pass, or there was none ([Config.ResumeFrom]),
// it is not known whether lists are answered: there is one at first
// ([store.ReasonFailing]), at once after a 405, after two 404, or when the watch
// has been forbidden for as long as a poll interval. Nothing begins with any other
// failure.
//
// The watch is tried again before each poll and after any other pass; that is one
// request which the server refuses, so two requests per interval if the collection
// has one page. If it is opened, polling is over, and it goes on from the last
// version without another list. Where lists have no version it is tried after each
// poll instead, since a watch from no version does not tell of what was deleted
// before it. Reflector.Resync polls at once.
//
// [Polling] tells of the beginning and [WatchOpened] of the end;
// [ReflectorInfo.Polling] is set meanwhile. It is no failure.
//
// # Requests
//
// A pass is read in one of two ways.
//
// In pages: the first request has the limit and no version, which is a
// consistent read, or, if something was delivered before, that version and
// resourceVersionMatch=NotOlderThan. The others have the limit and the continue
// token. The version of the pass is that of the first page. No list is without
// a limit, and none asks for version "0", for which servers ignore the limit.
// If a token expires the pass is aborted and a new one begins; what the sink has
// by then costs no decoding.
//
// Streamed: one watch with sendInitialEvents, resourceVersionMatch=NotOlderThan
// and the last version if there is one. The bookmark with the annotation
// k8s.io/initial-events-end completes the pass, and the same stream goes on as
// the watch. If the server rejects that, stays silent for
// [Config.InitialSilence], ignores the option, or breaks off twice, pages follow
// at once and this is remembered for ten minutes, then twenty, up to four hours.
//
// If the server cannot give a state that is new enough, or gives one that is
// older, it is asked for the newest that it has. That is then the truth, even if
// it is older than what was delivered before; [WentBackwards] tells of it. It is
// asked so as well after a pass that broke off with something delivered, and by
// the first pass after [Config.ResumeFrom]: no version is known then that
// includes all that the sink has.
//
// [Config.ListBudget] limits how many passes are read at the same time, by several
// reflectors together.
//
// A watch has bookmarks, a version, and a timeout of five to ten minutes, chosen
// at random.
//
// # Failures
//
// There is one [Backoff] for the whole cycle; it starts anew after a watch that
// lived a while. The orderly end of a watch, a version that is gone and
// ErrResync are followed by the next request at once, unless they come again
// and again. A [store.FullError] is followed by it as soon as the sink drained.
//
// A connection that brings nothing for [Config.Silence] is taken for dead: the
// request is ended, and the next one resumes. If that goes out over a connection
// that was used before, as under HTTP/2, and not one byte of an answer comes
// within a tenth of the silence (a second at least), that connection is closed
// below its transport, which then makes a new one. A connection that does answer
// is left alone.
//
// [CauseOf] classifies errors, [Explain] says what to do about them,
// [LogObserver] writes what happens to a log, and [ErrorObserver] passes failures
// to a function.
//
// # What a sink may rely on
//
//   - Each Begin is followed by a Commit that it accepts, or by Abort, also if
//     Begin or Commit was refused.
//   - At Commit, Progress, and after an accepted Apply or Delete outside of a
//     pass, what it was told is the state of the collection at that version;
//     before the first Commit, only if it had the state of
//     [Config.ResumeFrom] exactly.
//   - What it refused is offered again: the version does not advance.
//   - An answer that cannot be understood is an error, never an empty collection
//     or a deletion. A Status that tells of a failure is that failure, even if it
//     was sent as if all were well.
//
// # Mirrors
//
// [mirror.NewResourceVersionInformer] makes an informer whose sink keeps no objects. What
// was acknowledged by the handler stands in a [mirror.ResourceVersionStorage]: key, UID and
// version. What comes is compared with that:
//
//	what comes          recorded        the handler is told
//	an object           nothing         OnAdd
//	an object           older version   OnUpdate
//	an object           another UID     OnDelete, OnAdd
//	an object, listed   same version    OnSync
//	an object, watched  not older       nothing: it is old news
//	a deletion          something       OnDelete
//	the end of a list   what it lacked  OnDelete
//
// Between the wire and the handler each key has one change at most, into which newer
// ones are merged, and one more while a call for it is under way. How many there may
// be is bounded; beyond that a list waits, and a watch is ended to be resumed later.
// Changes are recorded once they are acknowledged; a key whose handler fails is tried
// again while the others go on.
//
// The resume version is the one up to which everything was acknowledged. Saved along
// with what was written, it lets the next informer go on where this one was, by a
// watch and without a list, as long as the server remembers that version. It is none
// while that is not known: while a list is being acknowledged that was made because
// the server had forgotten the version. A server that went back in time, as after a
// restore, has begun another history, and what was to be resumed from is forgotten.
//
// # Shared objects
//
// What a sink keeps for many to read must not be modified, and objects have in common
// what is equal in them (see [source.WithoutSharing]). In a process with
// KUBE_CACHE_MUTATION_DETECTOR=true in its environment, as in client-go, a modification
// ends it with the difference, whatever keeps the object: a [store.Store], the sink of
// a [fifo.FIFO], a [clientgo.StoreSink] and what stands on it, or what implements
// [store.Sharing]. See [store.DetectMutations]. Handlers of mirrors and consumers of
// batches own their objects.
//
// # Under code that is written for client-go
//
// [clientgo.StoreSink] makes a sink of a cache.Store or a cache.Queue. [clientgo.NewNamedController]
// fills a queue and processes what it pops, [clientgo.NewInformer] keeps a cache.Store and
// tells a cache.ResourceEventHandler.
package informer
