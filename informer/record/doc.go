// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package record writes what a resource receives from the API server to a file, and replays
// the file in a test, without a server. A bug report is then a file. A program records one
// resource by an option, such as source.WithRecording or cells.Record:
//
//	file := record.NewFile("pods.jsonl.gz")
//	defer file.Close() // after the stop of the resource
//	pods := resource.New[*corev1.Pod](lc, lw, resource.WithSourceOptions(source.WithRecording(file)))
//
// A [Switch] starts and stops a recording while the program runs, with
// source.WithRecordingSwitch or the script command resource/record of package cells.
//
// A test replays the file in a bubble of testing/synctest, so that an hour takes no time:
//
//	replay, err := record.NewReplay[*corev1.Pod](file, 1)
//	if err != nil {
//		t.Fatal(err)
//	}
//	pods := resource.NewFromSource(lc, replay)
//	… // start lc and the consumer
//	<-replay.Done()
//	synctest.Wait()
//
// With the same settings and the same consumer, the sink gets the same sequence of calls. This
// holds also for pages, errors, watches that break off, and servers that cannot be reached.
//
// # What is recorded
//
// A recording is text: a header, a line for each list and watch, and below it a line for each
// object, event and error, with the time since the start. Objects are recorded after a
// projection and a transform, as JSON. Objects that the sink already had are recorded by their
// name and version only, because they were not decoded. Their Decode in a replay returns an
// error, so a replay needs the sink, and for a resumed mirror the stored versions, of the
// recorded run. An object that could not be decoded is recorded with its error.
//
// The field data and stringData of Secrets, managedFields, and the annotation of kubectl with
// the last applied state are never recorded. Of a request only the options are recorded, and
// no header, so a recording has no credentials of the client. Everything else is in the file: leave out
// other secret fields with [WithoutFields], also those of a type that a transform makes of
// Secrets. The texts of errors are cut as in logs.
//
// The random jitter of delays and checks ([informer.Backoff].Jitter) and of the list budget differs from run to
// run. In a replay of a run with lists of store.ReasonCheck or store.ReasonFailing, a call can
// then come too early or too late: it fails, [Replay].Err shows it, and the next try follows.
package record
