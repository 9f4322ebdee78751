// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/logtest"
)

// TestNamedReflector fills an indexer from a server: what the indexer had stays
// through a list that breaks off, and is replaced by one that is whole.
func TestNamedReflector(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: t.Logf, Marker: true, Replies: []informertest.Reply{
			{Verb: "list", Words: []string{"rv=5", "continue=p2", "a@1"}},
			{Verb: "list", Words: []string{"error", "410"}},
			{Verb: "list", Words: []string{"error", "reset"}},
			{Verb: "list", Words: []string{"rv=6", "a@1", "b@2"}},
			{Verb: "watch", Lines: []string{"after 10s", "+c@7", "-b@8", "after 10s", "error 410"}},
			{Verb: "list", Words: []string{"rv=20", "c@7", "d@9"}},
			{Verb: "watch", Lines: []string{"after 10s", "bookmark 30"}},
		}}
		indexer, r, err := clientgo.NewNamespaceKeyedIndexerAndReflector[informertest.Object](server)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := indexer.GetIndexers()[cache.NamespaceIndex]; !ok {
			t.Errorf("indexers: %v", indexer.GetIndexers())
		}
		_ = indexer.Add(informertest.ParseObject("old@1"))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		expect := func(content, version string, synced bool) {
			t.Helper()
			synctest.Wait()
			if got := contentOf(indexer); got != content {
				t.Errorf("the indexer has %q, want %q", got, content)
			}
			if got := r.LastSyncResourceVersion(); got != version || r.HasInitializedSynced() != synced {
				t.Errorf("version %q, synced %v; want %q, %v", got, r.HasInitializedSynced(), version, synced)
			}
		}
		expect("old@1", "", false) // and backing off
		time.Sleep(5 * time.Second)
		expect("a@1 b@2", "6", true)
		time.Sleep(10 * time.Second)
		expect("a@1 c@7", "8", true)
		time.Sleep(10 * time.Second)
		expect("c@7 d@9", "20", true)
		time.Sleep(10 * time.Second)
		cancel()
		<-ended
		expect("c@7 d@9", "30", true)
	})
}

// TestNotInitializedByStop: a stop within the first list does not make it complete.
func TestNotInitializedByStop(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	server := &informertest.ScriptedServer{Log: t.Logf, Marker: true, Replies: []informertest.Reply{
		{Verb: "list", Words: []string{"rv=5", "continue=p2", "a@1"}},
		{Verb: "list", Words: []string{"hang"}},
	}}
	st := cache.NewStore(cache.MetaNamespaceKeyFunc)
	ctx, cancel := context.WithCancel(t.Context())
	server.Log = func(format string, args ...any) {
		if strings.Contains(fmt.Sprintf(format, args...), "continue=p2") {
			cancel()
		}
	}
	r, err := clientgo.NewNamedReflector[informertest.Object]("pods", server, st)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Run(ctx)
	if r.HasInitializedSynced() || r.LastSyncResourceVersion() != "" || len(st.List()) != 0 {
		t.Errorf("synced %v at %q with %v", r.HasInitializedSynced(), r.LastSyncResourceVersion(), st.List())
	}
}

// TestRefusedByStore: what a store refuses is offered again.
func TestRefusedByStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: t.Logf, Marker: true, Replies: []informertest.Reply{
			{Verb: "list", Words: []string{"rv=5", "a@1"}},
			{Verb: "watch", Lines: []string{"~a@6"}},
			{Verb: "watch", Lines: []string{"~a@6"}},
		}}
		c := &calls{fail: "update a@6"}
		var failed error
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Source: source.FromListerWatcher[informertest.Object](server, nil), Sink: clientgo.StoreSink[informertest.Object](c),
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				if o, ok := o.(informer.WatchEnded); ok && failed == nil {
					failed, c.fail = o.Err, ""
				}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = r.Run(ctx)
		var refused *informer.SinkError
		if !errors.As(failed, &refused) || refused.Call != "Apply" {
			t.Errorf("the watch ended with %v", failed)
		}
		if got := strings.Join(c.log, "; "); got != "replace 5: a@1; update a@6; update a@6" || r.LastSyncResourceVersion() != "6" {
			t.Errorf("%s, at %s", got, r.LastSyncResourceVersion())
		}
	})
}
