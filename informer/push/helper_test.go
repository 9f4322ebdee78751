// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
)

// The helper calls OnList, then OnEvent, and OnList anew if told to or if OnEvent
// fails for good.
func TestListWatchHelper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true}
		for _, line := range []string{
			"list rv=100 a@1 b@2", "watch", "  after 10s", "  ~a@101", "  +c@102", "  -b@103",
			"list rv=110 a@101 c@102", "watch", "  after 100s", "  ~c@111", "list rv=120 c@111", "watch",
		} {
			if !server.Read(line) {
				t.Fatal(line)
			}
		}
		var mu sync.Mutex
		var calls []string
		failures := 0
		helper, err := push.NewListWatchHelper(server, push.ListWatchCallback[informertest.Object]{
			OnList: func(_ context.Context, objects []informer.Object[informertest.Object]) error {
				mu.Lock()
				defer mu.Unlock()
				text := "list"
				for _, obj := range objects {
					text += " " + obj.Meta.String()
				}
				calls = append(calls, text)
				return nil
			},
			OnEvent: func(_ context.Context, change push.BatchChange[informertest.Object]) error {
				mu.Lock()
				defer mu.Unlock()
				if change.Version == "111" {
					failures++
					return errors.New("it fails for good")
				}
				calls = append(calls, fmt.Sprint(change.Kind, " ", change.Meta))
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = helper.Run(ctx) })
		time.Sleep(30 * time.Second)
		helper.Reset(errors.New("the remote side lost its data"))
		time.Sleep(10 * time.Minute)
		cancel()
		wg.Wait()
		want := []string{"list a@1 b@2", "modified a@101", "added c@102", "deleted b@2", "list a@101 c@102", "list c@111"}
		if !slices.Equal(calls, want) || failures != 5 {
			t.Errorf("%d failures, called\n%q\nwant\n%q", failures, calls, want)
		}
		if s := helper.Stats(); s.Snapshots != 3 || s.Accepted != 1 {
			t.Errorf("%+v", s)
		}
	})
	if _, err := push.NewListWatchHelper(&informertest.ScriptedServer{}, push.ListWatchCallback[informertest.Object]{}); err == nil {
		t.Error("without functions")
	}
}

// What is missing or makes no sense is an error of the constructor.
func TestBatcherConfigIsChecked(t *testing.T) {
	server, consumer := &informertest.ScriptedServer{}, &scriptedConsumer{}
	onBatch := func(context.Context, push.Batch[informertest.Object]) error { return nil }
	for want, cfg := range map[string]push.BatcherConfig[informertest.Object]{
		"Consumer is nil":    {ListerWatcher: server},
		"Source are nil":     {Consumer: consumer},
		"both set":           {Consumer: consumer, ListerWatcher: server, Source: informertest.CarelessSource{}},
		"nil function":       {Consumer: push.WholeSnapshots(nil, onBatch), ListerWatcher: server},
		"MaxItems":           {Consumer: consumer, ListerWatcher: server, Merger: push.MergerConfig[informertest.Object]{MaxItems: -1}},
		"MaxPendingBytes":    {Consumer: consumer, ListerWatcher: server, Merger: push.MergerConfig[informertest.Object]{MaxPendingBytes: -1}},
		"Backoff.Initial":    {Consumer: consumer, ListerWatcher: server, Merger: push.MergerConfig[informertest.Object]{Backoff: informer.Backoff{Initial: -1}}},
		"PageSize is -1":     {Consumer: consumer, ListerWatcher: server, Settings: informer.Settings{PageSize: -1}},
		"give ListAuto, Lis": {Consumer: consumer, ListerWatcher: server, Settings: informer.Settings{Lists: 17}},
	} {
		if _, err := push.NewBatcher("pods", cfg); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "pods") {
			t.Errorf("error %v, want one with %q and the name", err, want)
		}
	}
	if _, err := push.NewBatcher("", push.BatcherConfig[informertest.Object]{ListerWatcher: server, Consumer: consumer}); err == nil {
		t.Error("without a name")
	}
	if _, err := push.NewEventMerger[informertest.Object]("m", push.MergerConfig[informertest.Object]{}, nil); err == nil {
		t.Error("a merger without a consumer")
	}
}

// TestBatcherPollInterval: a Batcher polls at the interval of its configuration.
func TestBatcherPollInterval(t *testing.T) {
	b := playBatches(t, `
list rv=100 a@1 b@2
watch error 405
watch error 405
list rv=110 a@1 b@105
stop 12s
`, func(c *push.BatcherConfig[informertest.Object]) { c.PollInterval = 10 * time.Second })
	if b.lists() != 2 || b.stats.Snapshots != 2 || b.stats.Reflector.Polling == nil {
		t.Errorf("the Batcher: %d lists, %+v", b.lists(), b.stats)
	}
}

// A list repeats an object in the same version, in a page or over pages. The snapshot has it
// once, and again if it has changed meanwhile.
func TestSnapshotNamesAVersionOnce(t *testing.T) {
	p := playBatches(t, `
page 3
list rv=100 continue=p2 a@1 b@2 a@1
list rv=100 continue=p3 b@2 a@1
list rv=100 b@2 c@3 b@5
watch
stop 10s`)
	p.want(t, "begin 1 first", "page a@1 b@2", "page c@3 b@5", "end 100")

	p = playBatches(t, `
streamed
watch
  +a@1
  +a@1
  +b@2
  ~a@4
  ~a@4
  end 100
stop 10s`)
	p.want(t, "begin 1 first", "page a@1 b@2 a@4", "end 100")
}
