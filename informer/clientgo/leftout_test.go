// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

// A store keeps what it has of an object that cannot be decoded, as when its version ends in
// 7. A queue does not show what it has: a list with such an object fails.
func TestLeftOut(t *testing.T) {
	for name, sink := range map[string]clientgo.ExtraStore{
		"store": cache.NewStore(cache.MetaNamespaceKeyFunc),
		"queue": cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{KeyFunction: cache.MetaNamespaceKeyFunc}),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, isStore := sink.(cache.Store)
				server := &informertest.ScriptedServer{Log: t.Logf, Marker: true, Replies: []informertest.Reply{
					{Verb: "list", Words: []string{"rv=5", "a@1", "b@2", "x#u@3", "y#u@4"}},
					{Verb: "watch", Lines: []string{"after 10s", "~b@17", "~a@18", "error 410"}},
					{Verb: "list", Words: []string{"rv=20", "x#u@7", "y#v@7", "c@17", "d@19"}},
				}}
				if !isStore {
					server.Replies = append(server.Replies, server.Replies[2], server.Replies[2], server.Replies[2], server.Replies[2])
				}
				server.Replies = append(server.Replies, []informertest.Reply{
					{Verb: "watch", Lines: []string{"after 10s", "error 410"}},
					{Verb: "list", Words: []string{"rv=30", "@5", "e@29", "d@19"}},
					{Verb: "watch", Lines: []string{"after 10s", "-x#u@37"}},
				}...)
				r, err := informer.NewReflector(informer.Config[informertest.Object]{
					Source: source.FromListerWatcher(server, informertest.NoSevens), Sink: clientgo.StoreSink[informertest.Object](sink),
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- r.Run(ctx) }()
				for i, want := range []string{"a@1 b@2 x@3 y@4", "d@19 x@3", "d@19 e@29 x@3", "d@19 e@29"} {
					if i > 0 && (isStore || i == 1) {
						time.Sleep(10*time.Second + time.Millisecond)
					}
					synctest.Wait()
					if isStore && contentOf(st) != want {
						t.Errorf("%d: the store has %q, want %q", i, contentOf(st), want)
					}
				}
				if info := r.Info(); isStore == (info.Cause == informer.CauseDecoding) || isStore == (info.Passes == 1) {
					t.Errorf("%+v", info)
				}
				cancel()
				<-ended
			})
		})
	}
}
