// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package resourcetest is for unit tests of code that uses a resource.Resource. A [Fake]
// is a real resource, with informer, store, retries and merging of events, and a server
// in memory that the test controls.
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
//			pods.Delete(store.Key{Namespace: "ns", Name: "bob"})
//			synctest.Wait()
//			if g.Greeted("bob") {
//				t.Error("bob is still greeted")
//			}
//		})
//	}
//
// In a bubble of [testing/synctest] such a test is exact: synctest.Wait returns when the
// consumer has received and handled all changes, and retries take no time. Outside a
// bubble, a test waits for the effects of its consumer, or with [Fake.Flush] for the
// store of the resource. A Fake has no polling and no network. It uses timers only for
// retries after failures.
//
// # Changes and failures
//
// [Fake.Upsert] and [Fake.Delete] change objects. [Fake.Sync] completes the first list.
// Before it, a test can check the consumer without a complete state.
//
// [Fake.Fail] makes all requests fail, for tests of start hooks and error messages.
// [Fake.Disconnect] ends a watch, and [Fake.Expire] ends one that cannot be resumed. After
// both, the consumer gets all changes that it missed, including deletions.
//
// In a hive, [NewOn] creates the Fake on the same lifecycle as the real resource.
package resourcetest
