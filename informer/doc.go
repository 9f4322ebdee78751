// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package informer keeps a [store.Sink] up to date with a collection of a Kubernetes API
// server. It is for programs with a sink of their own. Others use package cells or package
// resource, which are built on it.
//
//	pods, err := store.New(store.Config[*corev1.Pod]{})
//	if err != nil {
//		return err
//	}
//	listWatch := source.NewListWatchFromClient(clientset.CoreV1().RESTClient(), "pods", "")
//	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{
//		Source: source.FromListerWatcher[*corev1.Pod](listWatch, nil),
//		Sink:   pods,
//	})
//	if err != nil {
//		return err
//	}
//	return reflector.Run(ctx) // blocks until ctx ends
//
// A [Source] sends requests and decodes responses. A [Reflector] decides which request
// comes next. It starts with a pass, which is one complete read of the collection, and then
// watches from the version of the pass:
//
//	idle ──▶ listing ──▶ watching ──▶ idle (ctx ended)
//	           ▲  │          │  ▲
//	           │  ▼          ▼  │
//	    backing off, draining, polling
//
// See informer/source for sources. See informer/mirror (handlers), informer/push (batches)
// and informer/clientgo (stores of client-go) for sinks.
//
// # Passes and their reasons
//
// After the first pass ([store.ReasonFirst]) the Reflector makes another one only for one
// of these reasons:
//
//   - [store.ReasonExpired]: the watch cannot resume. The server no longer has the version
//     (410 with the reason Expired or Gone), or does not have it yet, as after a restore.
//     Two bookmarks in a row that are older than the last version mean the same. Other
//     causes: a watch without versions has ended, versions cannot be compared, or the API
//     version of the objects has changed.
//   - [store.ReasonResync]: the sink returned [store.ErrResync], or the program called
//     [Reflector.Resync].
//   - [store.ReasonFailing]: watches fail without evidence, see the next section.
//   - [store.ReasonCheck]: watches brought no evidence for [Settings.CheckInterval],
//     [Settings.ResyncInterval] has ended, or objects that are left out are tried again.
//   - [store.ReasonPoll]: the Reflector polls.
//   - [store.ReasonAbsent]: the kind is gone. This pass sends no request.
//
// A paged pass lists with a limit, and never asks for version "0", for which servers ignore
// the limit. Its first request asks for the newest state, or for one that is not older than
// the last version. A server can answer the latter from its watch cache, so passes of
// ReasonResync and ReasonCheck always ask for the newest state. The version of the pass is
// that of the first page. A later page that fails for a passing reason is requested up to
// five times. If its token expires, a new pass begins. A list that would never end fails: its
// pages repeat, or a thousand of them in a row are empty.
//
// A streamed pass is a watch with sendInitialEvents ([Settings.Lists]), which goes on as the
// watch. A paged pass follows at once if the server does not support the option, or if
// streamed passes break off twice. Streaming is tried again after ten minutes, then twenty,
// up to four hours.
//
// The Reflector accepts a state that is older than the last version ([WentBackwards]) if the
// server has no newer one, after a pass that broke off with objects handed over, and in the
// first pass after [Config.ResumeFrom]. It then asks for the newest state.
//
// If a pass fails that is not the first one, the watch goes on from the last version. It does
// not if that version is of no use: it has expired, the sink wants a pass, or neither the
// watch nor the list finds the kind.
//
// # Watches and evidence
//
// A watch asks for bookmarks, and for an end after five to ten minutes, at random, or sooner
// if a pass is due. A watch that ends is resumed from the last version that the sink
// accepted, from an event or a bookmark.
//
// An open watch proves nothing: a proxy can hold its events back. Evidence is an event, or a
// bookmark that is newer than the version before. Without evidence a pass shows what is
// true. It comes:
//
//   - After two failed watches in a row, if they have failed for
//     [Settings.MaxInternalErrorRetryDuration]. A watch that ends within half a minute counts
//     as failed.
//   - After two failed watches, if the kind is not installed.
//   - After five, if the answer makes no sense or the server rejects the request.
//   - For a watch that is refused, see Polling. While the server cannot be reached, no list
//     is sent, and the time does not count.
//   - After [Settings.CheckInterval] of quiet watches. A quiet watch brings nothing
//     until the server ends it in its time, or is silent. It is no failure.
//
// A pass that shows nothing new doubles the time to the next one. One that shows a change
// that no watch has brought is followed by others, until a watch brings something. See the
// two settings.
//
// A pass of ReasonResync or ReasonCheck also checks the watch: observers get [Missed] if it
// finds an older change that the watch has not brought.
//
// # Order of versions
//
// A watch from a version brings what is newer, and the objects of a list are not newer than
// the list. If a server violates this, its versions cannot be compared: they began anew, or
// never change. Observers get [VersionsUnordered].
//
// From then on the Reflector applies events in the order in which they come, without a
// version ([store.Meta].Version is empty). Passes of the newest state decide what is true,
// at most one a minute at first and one an hour later. If objects keep their version, a pass
// hands over all of them ([store.Pass].Anew). So does one pass after the API version of the
// objects has changed. The version "0" counts as none.
//
// # Objects that cannot be decoded
//
// One object does not hold up the others. If an object cannot be decoded, or its transform
// fails, the Reflector leaves its newest state out, and the list or the watch goes on. Any
// user who can write an object can cause this, so it is no failure of the collection.
//
//   - The sink keeps the state that it has of the object ([store.Keeper]). A list does not
//     delete the object. A deletion that a watch brings does: it needs no state.
//   - Observers get [ObjectLeftOut] once for each object, and [LeftOutEnded] when it is
//     decoded again or is gone. See also [ReflectorInfo].LeftOut.
//   - A list tries these objects again after [Settings.CheckInterval], then after twice the
//     time, up to six times CheckInterval.
//   - An object without a name can be any object. A list with one deletes nothing. An event
//     without a name fails the watch: only a list shows what has changed.
//   - A first list of several objects, none of which can be decoded, fails: the type is
//     probably wrong.
//
// A list with such an object fails if the sink is no [store.Keeper]. Lists and watches fail
// if the source is strict ([StrictDecoder]), or if its client decodes the responses, as
// those of client-go do in JSON, protobuf and CBOR, and cannot decode the object. The error
// names the object if it is known.
//
// # Absent kinds
//
// If a kind is not installed, requests follow each other after [Backoff.Denied], without
// growth. The sink keeps the objects of a kind that was removed until [Settings.AbsentAfter]
// has passed, and the server has confirmed twice that it lacks the kind. The sink then gets
// a pass without objects, and a first pass follows.
//
// # Polling
//
// Some collections can be listed and not watched: RBAC does not grant the verb, the kind
// does not offer it (metrics.k8s.io), or a proxy lets only lists through. The Reflector then
// makes a paged pass every [Settings.PollInterval].
//
// Polling starts when the server refuses the watch that follows a pass. If a watch was open
// since the pass, or there was no pass ([Config.ResumeFrom]), a list comes first
// ([store.ReasonFailing]). Other failures start no polling.
//
//	answer   after a pass: polls      otherwise: lists first
//	405      after the first answer   after the first answer
//	404      after two in a row       after two in a row
//	403      after two in a row       after PollInterval, or MaxInternalErrorRetryDuration
//	                                  if that is shorter
//
// The Reflector tries the watch before each poll. If lists have no version it does so after
// the poll, because such a watch does not show earlier deletions. Polling ends without
// another list when the watch opens. Resync polls at once. Observers get [Polling] at the
// start and [WatchOpened] at the end.
//
// # Failures
//
// [Backoff] spaces the requests after failures. The next request follows at once after the
// orderly end of a watch, an expired version or ErrResync, unless these repeat. After a
// [store.FullError] it follows when the sink has drained. A request without data for
// [Settings.IdleTimeout] is ended.
//
// A panic of the source or the sink is a failure. A panic of an observer loses the
// occurrence. The documentation of package resource has the rule.
//
// [ReflectorInfo].Err is the newest failure that made the Reflector back off. It names the
// request or the sink, and the resource. It ends, and observers get [Recovered], when what
// failed succeeds. [CauseOf] classifies errors and [Explain] gives advice. [LogObserver]
// writes a log. [ErrorObserver] passes failures to a function.
//
// # What a sink can rely on
//
//   - Each Begin is followed by a Commit that the sink accepts, or by Abort, also if the
//     sink refused Begin or Commit.
//   - At Commit, at Progress, and after an accepted Apply or Delete outside of a pass, the
//     sink has the state of the collection at that version, except for objects that are left
//     out. Before the first Commit this holds only if the sink started with the exact state of
//     [Config.ResumeFrom]. After a pass that broke off with objects handed over, the sink can
//     be ahead of the version until the next Commit: the watch brings older states of these
//     objects.
//   - The Reflector offers a refused object again: the version does not advance.
//   - A response that cannot be understood is an error, never an empty collection or a
//     deletion. A Status that describes a failure is a failure, whatever its HTTP code.
package informer
