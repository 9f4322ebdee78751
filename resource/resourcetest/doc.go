// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package resourcetest is for unit tests of those who consume a
// resource.Resource. A [Fake] is a real one, with its informer, store, retries
// and merging of events, that follows a server in memory which the test drives.
//
//	func TestGreeter(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			pods := resourcetest.New[*corev1.Pod](t)
//			g := NewGreeter(pods.Resource()) // the consumer
//			go g.Run(t.Context())
//
//			pods.Upsert(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bob"}})
//			pods.Sync()
//			synctest.Wait()
//			if !g.Greeted("bob") {
//				t.Error("bob was not greeted")
//			}
//
//			pods.Delete(resource.Key{Namespace: "ns", Name: "bob"})
//			synctest.Wait()
//			if g.Greeted("bob") {
//				t.Error("bob is still greeted")
//			}
//		})
//	}
//
// The bubble of [testing/synctest] makes such a test exact: synctest.Wait returns
// when all that was done has come to the consumer and been handled, and retries
// take no time. Outside of a bubble a test waits for what the consumer does, or
// with [Fake.Flush] for the store of the resource. A Fake has no polling, no
// network, and no timer but for retries after failures; it works in both.
//
// # What a test can bring about
//
// The life of a server: objects come and change with [Fake.Upsert] and go with
// [Fake.Delete]; [Fake.Sync] completes the first answer, for tests of what a
// consumer does before it knows everything.
//
// And its troubles: [Fake.Fail] for a server that is away or forbids, for tests of
// start hooks and of error messages; [Fake.Disconnect] for a watch that ends, and
// [Fake.Expire] for one that cannot be resumed. A consumer should not notice the
// last two: what it missed comes, deletions included.
//
// In a hive, [NewOn] makes the Fake in place of the real resource, on the same
// lifecycle.
package resourcetest
