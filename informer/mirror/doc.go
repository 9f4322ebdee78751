// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package mirror calls a handler for each change of a collection and keeps only versions in
// memory. It is for programs that copy a collection to a database.
//
//	inf, err := mirror.NewResourceVersionInformer("cluster-1/pods", mirror.InformerConfig[*corev1.Pod]{
//		ListerWatcher: listWatch, // for example source.NewListWatchFromClient(client, "pods", "")
//		Handler:       handler,   // OnAdd, OnUpdate, OnDelete, OnSync
//		Storage:       versions,  // the key, UID and version of each row
//		ResumeVersion: saved,     // from inf.ResumeVersion() of the last run
//	})
//	if err != nil {
//		return err
//	}
//	return inf.Run(ctx) // blocks until ctx ends
//
// A [ResourceVersionStorage] records the key, UID and version of each object that the
// handler acknowledged. The record determines the call:
//
//	the informer reads       recorded          call
//	an object                nothing           OnAdd
//	an object                another version   OnUpdate
//	an object                another UID       OnDelete, then OnAdd
//	an object in a list      the same version  OnSync
//	an event of a watch      not older         none: the event is old
//	a deletion               something         OnDelete
//	a whole list without it  something         OnDelete
//
// For OnDelete, an object whose OnAdd failed counts as recorded: the handler can have
// written a part of it. If a pass has Anew set, see [store.Pass], OnUpdate is called
// for the same version as well.
//
// A change is recorded when the handler has acknowledged it. A key that fails is retried
// while other keys go on. Each key has at most one pending change, into which newer changes
// are merged, and one more during a call for the key. At [InformerConfig.MaxPending] a list
// waits, and a watch ends and is resumed later.
//
// The resume version is the version up to which everything was acknowledged. Save it with
// the rows. The next informer then resumes with a watch and without a list, while the
// server still has that version. The resume version is empty during the list that follows
// an expired version. It is reset if the server went back in time, as after a restore.
package mirror
