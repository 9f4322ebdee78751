// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package status computes whether Kubernetes objects have reached the state that their
// spec asks for. Programs use it to apply and wait, to deploy step by step, or to
// report the health of the objects that they manage.
//
//	engine, err := status.New(status.Config{Dynamic: client, Mapping: status.ByMapper(mapper)})
//	if err != nil {
//		return err
//	}
//	defer engine.Stop(context.Background())
//
//	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
//	defer cancel()
//	deployment := schema.GroupKind{Group: "apps", Kind: "Deployment"}
//	ids := []status.ID{{Namespace: "shop", Name: "web", GroupKind: deployment}}
//	statuses, err := engine.Wait(ctx, ids, status.OrFailed(status.All(status.Current)))
//
// # Two engines
//
// An [Engine] watches. It opens the watches that its callers need, shares them between
// all callers, and reports each change of a status: see [Engine.Watch], [Engine.Wait]
// and [Engine.ClusterReader]. A failed object that is removed at once is reported as
// Failed, and then as NotFound. It evaluates an object after a change, or when its rule
// asks for it, and without a request. Each watched namespace of a kind costs a
// connection, and memory for its objects, trimmed to the fields that the rules read. An
// object that is watched by itself costs a connection and its own memory. With
// [Config.Stream], as in cells, the other fields are not even decoded.
//
// A [PollerEngine] reads all objects in cycles and accepts other status readers. It
// misses what happens between two cycles, and costs nothing meanwhile. Use it with
// existing status readers, or for rare checks. With a [CachedReader] of an Engine it
// reads from memory.
//
// # Statuses
//
// The default [Rules] are close to those of kstatus. Options add rules, and a program can
// replace the rule of a kind, for example with [ByCondition].
// An object that the server does not have is NotFound. An object that cannot be read is
// Unknown with a [Reason], and the other objects are still reported. An error of an
// object is part of its status and never ends a watch.
package status
