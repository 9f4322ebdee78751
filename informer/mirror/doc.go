// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package mirror calls a handler for each change of a collection and keeps only versions in
// memory; it is for programs that copy a collection to a database.
//
//	inf, err := mirror.NewResourceVersionInformer("cluster-1/pods", mirror.InformerConfig[*corev1.Pod]{
//		ListerWatcher: listWatch, Handler: handler, Storage: storage, ResumeVersion: saved})
//	err = inf.Run(ctx) // until ctx ends
//
// A [ResourceVersionStorage] records the key, UID and version of each object that the
// handler acknowledged. The record decides which method is called:
//
//	the informer reads  recorded        call
//	an object           nothing         OnAdd
//	an object           older version   OnUpdate
//	an object           another UID     OnDelete, OnAdd
//	an object, listed   same version    OnSync
//	an object, watched  not older       none: the event is old
//	a deletion          something       OnDelete
//	the end of a list   not in the list OnDelete
//
// For OnDelete, an object whose OnAdd failed counts as recorded: the handler may have
// written something of it.
//
// Each key has at most one pending change, into which newer ones are merged, and one more
// during a call for it. At [InformerConfig.MaxPending] a list waits, and a watch ends and
// is resumed later. A change is recorded after the handler acknowledged it. If the handler
// fails for a key, that key is retried and others go on.
//
// The resume version is the version up to which everything was acknowledged. Save it with
// the rows: the next informer then resumes with a watch and without a list, while the
// server has that version. It is empty during a list that follows an expired version. If
// the server went back in time, as after a restore, it is reset. A handler owns its objects.
package mirror
