// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package informer follows a collection of a Kubernetes API server and keeps a [store.Sink]
// up to date with it. It is for code that brings its own sink. A [Source] sends the
// requests and decodes the responses. A [Reflector] decides when.
//
//	src := source.FromListerWatcher[*corev1.Pod](listWatch, nil)
//	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: src, Sink: sink})
//	err = reflector.Run(ctx) // until ctx ends
//
// See informer/source for sources, and informer/mirror (handlers), informer/push (batches)
// and informer/clientgo (stores of client-go) for sinks.
//
// # States
//
// A Reflector starts with a pass: one complete read of the collection. It then watches from
// the version of the pass. A watch that ends is resumed from the last version that the sink
// accepted, from an event or from a bookmark.
//
//	idle ──▶ listing ──▶ watching ──▶ idle (ctx ended)
//	           ▲  │          │  ▲
//	           │  ▼          ▼  │
//	    backing off, draining, polling
//
// An open watch proves nothing: a proxy can hold its events back. Evidence is an event, or a
// bookmark that is newer than the version before. The Reflector makes a further pass only for
// one of these reasons:
//
//   - [store.ReasonExpired]: the server no longer has the version (410 with the reason
//     Expired or Gone), or does not have it yet, as after a restore. Two bookmarks in a row
//     that are older than the last version mean the same. So do the end of a watch without
//     versions, and an event that proves that versions cannot be compared, see Versions.
//   - [store.ReasonAsked]: the sink returned [store.ErrResync], or the program called
//     [Reflector.Resync].
//   - [store.ReasonFailing]: watches fail, or are cut within half a minute, without evidence.
//     Two in a row suffice if they have failed for [Settings.MaxInternalErrorRetryDuration], and
//     at once if the kind is not installed. Five suffice if the failure is permanent: a
//     response that makes no sense, a request that is rejected. One or more suffice if the
//     watch is refused, see Polling. A server that cannot be reached gets no list, and the
//     time until it can be reached does not count.
//   - [store.ReasonCheck]: watches were open without evidence for [Settings.CheckInterval], or
//     [Settings.ResyncInterval] has ended.
//   - [store.ReasonPoll]: the Reflector polls.
//
// A pass for want of evidence that shows nothing new doubles the time to the next one, from
// a minute up to ten while watches fail, and from ten minutes up to an hour while they are
// quiet. A quiet watch is no failure: nothing came, and the server ended it in its time, or
// it was silent.
//
// A pass of ReasonAsked or ReasonCheck also checks the watch: observers get [Missed] if it
// finds what the watch should have brought. With [Settings.CheckMetadata], passes of
// ReasonCheck list metadata only, as long as nothing is new or changed.
//
// If a pass that is not the first one fails, the watch goes on from the last version, and is
// tried also before each further list. Only lists are tried where the version is known to
// be of no use: it has expired, the sink wants a pass, or neither the watch nor the list
// finds the kind.
//
// # Polling
//
// Some collections can be listed and not watched: RBAC does not grant the verb, the kind
// does not offer it (metrics.k8s.io), or a proxy lets only lists through. The Reflector
// then makes a pass every [Settings.PollInterval], in pages.
//
// Polling starts when a pass was committed and the server refuses the watch after it:
//
//   - with 405, at the first answer;
//   - with 403 or 404, at the second in a row, after a backoff.
//
// If a watch was open since the last pass, or there was no pass ([Config.ResumeFrom]), the
// Reflector first tries a list ([store.ReasonFailing]): at once after a 405, after two 404,
// or when the watch was forbidden for a poll interval. No other failure has this effect.
// Before each poll, and after any other pass, the Reflector tries the watch again. When the
// watch opens, polling ends without another list. If lists have no version, the watch is
// tried after each poll instead, because a watch from no version does not show earlier
// deletions. Reflector.Resync polls at once. Observers get [Polling] at the start and
// [WatchOpened] at the end.
//
// If a pass for want of evidence shows a change that no watch has brought, passes follow
// each other as well: the next one after a poll interval, and further ones after twice the
// time, up to CheckInterval, or after a poll interval again if they show another change. The
// watch stays open in between. Observers get [Polling] with [CauseSilent] at the start, and
// [WatchProved] when a watch brings something.
//
// # Versions
//
// A watch from a version brings what is newer, and the objects of a list are not newer than
// the list. A server that violates this has versions that cannot be compared: they began
// anew, or never change. From then on the Reflector applies events in the order in which
// they come, without a version ([store.Meta].Version is empty). A pass of the newest state
// decides what is true, at most one a minute at first and one an hour later. If objects keep
// their version, and if the API version of the objects changes, a pass hands over all of
// them ([store.Pass].Anew). "0" is no version. Observers get [VersionsUnordered].
//
// # Requests
//
// A paged pass: the first request has the limit and no version, which is a consistent read.
// If objects were delivered before, it has their version and
// resourceVersionMatch=NotOlderThan, except in passes of ReasonAsked and ReasonCheck: a
// server can answer that from the cache that its watches come from. The following requests have the limit and the continue
// token. The version of the pass is that of the first page. Every list has a limit, and
// none asks for version "0", for which servers ignore the limit. A page that is refused for a
// reason that can pass is requested again by its token, five times in all. If a token
// expires, a new pass begins. A list that would never end fails: its pages go round, or a
// thousand of them in a row are empty.
//
// A streamed pass: one watch with sendInitialEvents, resourceVersionMatch=NotOlderThan and
// the last version, if there is one and with the same exception. The bookmark with the annotation
// k8s.io/initial-events-end completes the pass, and the stream goes on as the watch. If the
// server rejects or ignores the option, is silent for [Settings.InitialSilence], repeats
// objects or sends them too slowly without an end, or breaks off twice, a paged pass follows
// at once. Streaming is tried again after ten minutes, then twenty, up to four hours.
//
// If the server has no state that is new enough, the Reflector asks for the newest one and
// accepts it, even if it is older than the previous one ([WentBackwards]). It also does so
// after a pass that broke off after a delivery, and in the first pass after
// [Config.ResumeFrom]. A watch has bookmarks, a version, and a random timeout of five to
// ten minutes, or less if a pass is due before.
//
// # Objects that cannot be decoded
//
// One object does not hold up the others. If an object cannot be decoded, or the transform
// fails for it, the Reflector leaves its newest state out, and the list or the watch goes on:
//
//   - The sink keeps the state that it has of the object, if it has one. A list does not delete
//     the object, and a deletion that a watch brings does. It needs no state.
//   - Observers get [ObjectLeftOut] once for each object, and [LeftOutEnded] when the object is
//     decoded again or is gone. [LogObserver] names it in a line each. [ReflectorInfo].LeftOut
//     has up to 100 of them, with the key, the version and the reason.
//   - A list tries them again after [Config.CheckInterval], and then ever more rarely, up to six
//     times that. A transform can fail for a time, and so leaves nothing out for ever.
//   - An object of a list that has no name can be any object. A list that has one deletes
//     nothing. An event without a name fails the watch, as only a list can show what is right.
//   - A first list of several objects, none of which can be decoded, fails: the type is more
//     likely to be wrong than all of them, and the sink would be empty.
//
// A transform is treated as the decoder is: both fail for an object, not for the collection, and
// anybody who can write an object may make them fail.
//
// The list fails instead if the sink is no [store.Keeper]. The list and the watch fail if the
// source is given WithStrictDecoding, see [StrictDecoder]. A source whose client decodes by
// itself, as client-go's do in JSON, protobuf and CBOR, cannot leave out what that client cannot
// decode. The error names the object where it is known.
//
// # Failures
//
// One [Backoff] covers the whole cycle. It starts anew after a watch that lived for
// [Backoff.Reset]. The orderly end of a watch, an expired version and ErrResync are
// followed by the next request at once, unless they repeat. After a [store.FullError] the
// next request follows when the sink has drained. The Retry-After of a server is obeyed for
// five minutes at most. Resync cuts a delay short.
//
// A request without data for [Settings.Silence] is ended, and the next one resumes. If that
// one goes out over a used connection, as under HTTP/2, and gets no byte within a tenth of
// the silence (at least a second), that connection is closed. A panic of the source or the
// sink is a failure like an error, and one of an observer loses the occurrence: the rule is
// in the documentation of package resource.
//
// [ReflectorInfo.Err] is the newest failure that made the Reflector back off. It names the
// request (list, streamed list, watch) or the sink, and the resource. A success of what
// failed ends it, and observers get [Recovered]. A kind that is not installed is asked for
// again after [Backoff.Denied] each time, and is not asked for less and less often.
// [CauseOf] classifies errors. [Explain] gives advice. [LogObserver] writes a log.
// [ErrorObserver] passes failures to a function.
//
// # What a sink may rely on
//
//   - Each Begin is followed by a Commit that the sink accepts, or by Abort, also if the
//     sink refused Begin or Commit.
//   - At Commit, at Progress, and after an accepted Apply or Delete outside of a pass, the
//     sink has the state of the collection at that version. Before the first Commit this
//     requires that the sink started with the exact state of [Config.ResumeFrom]. After a
//     pass that broke off with objects handed over, the sink can be ahead of the version
//     until the next Commit: the watch brings older states of these objects.
//   - The Reflector offers a refused object again: the version does not advance.
//   - A response that cannot be understood is an error, never an empty collection or a
//     deletion. A Status that describes a failure is a failure, whatever its HTTP code.
package informer
