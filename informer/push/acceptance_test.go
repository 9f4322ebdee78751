// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
)

// The acceptance checks of a Batcher, by number.

// A watch that is forbidden costs a handful of lists in ten minutes, and is told.
func TestBatchAcceptance01WatchForbidden(t *testing.T) {
	p := playBatches(t, "list rv=100 a@1\n"+strings.Repeat("watch error 403\n", 5)+"list rv=101 a@1\n"+strings.Repeat("watch error 403\n", 5)+"stop 10s")
	if n := p.lists(); n != 1 {
		t.Errorf("%d lists in 10 s", n)
	}
	if len(p.errors) == 0 || informer.CauseOf(p.errors[0]) != informer.CauseForbidden {
		t.Errorf("told the errors %v", p.errors)
	}
	p.want(t, "begin 1 first", "page a@1", "end 100")
}

// A watch that is closed in an orderly way is resumed from the last version, be it of
// an event or a bookmark.
func TestBatchAcceptance02WatchClosed(t *testing.T) {
	p := playBatches(t, `
list rv=100 a@1
watch
  after 30s
  ~a@101
  close
watch
  after 30s
  bookmark 150
  close
watch
  after 30s
  close
watch
  after 30s
  close
watch
  after 30s
  close
watch
stop 10m`)
	if n := p.lists(); n != 1 {
		t.Errorf("%d lists", n)
	}
	for i, version := range []string{"100", "101", "150", "150", "150", "150"} {
		if want := "watch version=" + version + " bookmarks"; p.requests[i+1] != want {
			t.Errorf("watch %d: %s, want %s", i+1, p.requests[i+1], want)
		}
	}
	p.want(t, "begin 1 first", "page a@1", "end 100", "batch ~a@101 to 101")
}

// A deletion that is pending when a snapshot has the object is not told.
func TestBatchAcceptance03Fence(t *testing.T) {
	p := playBatches(t, `
list rv=10 a#u@5 b#v@6
watch
  after 1s
  -a#u@20
  ~b#v@21
  error 410
list rv=30 a#u2@25 b#v@28
watch
  after 10s
  ~a#u2@31
consumer slow 5s begin 2
stop 30s`)
	p.want(t, "begin 1 first", "page a#u@5 b#v@6", "end 10",
		"begin 2 expired", "page a#u2@25 b#v@28", "end 30", "batch ~a#u2@31 to 31")
	if p.stats.Fenced != 2 {
		t.Errorf("%d changes were fenced, want 2", p.stats.Fenced)
	}
}

// What the consumer refuses comes again, merged with what is newer; after some
// failures, or if the consumer asks for it, there is a snapshot.
func TestBatchAcceptance04ConsumerFails(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
  +b#v@102
  after 200ms
  ~a#u@103
  -b#v@104
  +c#w@105
consumer refuse batch
stop 30s`)
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "batch ~a#u@103 -b#v@102 +c#w@105 to 105")
	if len(p.errors) != 1 || p.stats.Failures != 1 {
		t.Errorf("told the errors %v", p.errors)
	}

	p = playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
list rv=110 a#u@101
watch
`+strings.Repeat("consumer refuse batch\n", 5)+"stop 1m")
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "begin 2 resync", "page a#u@101", "end 110")
	if len(p.errors) != 5 {
		t.Errorf("told the errors %v", p.errors)
	}

	p = playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
list rv=110 a#u@101
watch
  after 1s
  close
list rv=111 a#u@101
watch
consumer resync batch
consumer refuse page a#u@101
stop 1m`)
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "begin 2 resync", "abort 2", "begin 3 resync", "page a#u@101", "end 111")
	if last := p.errors[len(p.errors)-1]; informer.CauseOf(last) != informer.CauseSink ||
		last.Error() != "sink of pods: Commit: SnapshotPage of the consumer: refused" {
		t.Errorf("the last error is %v", last)
	}
}

// What is pending at a stop is delivered in a last batch, or reported; what comes
// after that is refused.
func TestBatchAcceptance05Stop(t *testing.T) {
	const script = "list rv=100 a@1\nwatch\n  after 10s\n  ~a@101\n"
	slow := func(cfg *push.BatcherConfig[informertest.Object]) {
		cfg.Merger.Quiet, cfg.Merger.MaxDelay = time.Hour, time.Hour
	}
	p := playBatches(t, script+"stop 15s", slow)
	p.want(t, "begin 1 first", "page a@1", "end 100", "batch ~a@101 to 101")
	if !strings.Contains(p.text, "15.0s   Run returns") || p.err == nil || errors.As(p.err, new(*push.UndeliveredError)) {
		t.Errorf("Run returned %v", p.err)
	}

	p = playBatches(t, script+"consumer slow 1h batch\nstop 15s", slow)
	var undelivered *push.UndeliveredError
	if !errors.As(p.err, &undelivered) || undelivered.Changes != 1 || undelivered.Err == nil {
		t.Errorf("Run returned %v", p.err)
	}
	if !strings.Contains(p.text, "20.0s   Run returns") {
		t.Error("the last delivery had more time than the default")
	}
	if len(p.errors) == 0 || !errors.As(p.errors[len(p.errors)-1], &undelivered) || informer.CauseOf(undelivered) != informer.CauseSink {
		t.Errorf("told the errors %v", p.errors)
	}

	synctest.Test(t, func(t *testing.T) {
		m, err := push.NewEventMerger("m", push.MergerConfig[informertest.Object]{},
			func(context.Context, push.Batch[informertest.Object]) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = m.Run(ctx)
		obj := informertest.ParseObject("a@1")
		if err := m.Add(t.Context(), watch.Added, informertest.MetaOf(obj), obj); !errors.Is(err, push.ErrMergerStopped) {
			t.Errorf("Add after the stop: %v", err)
		}
		if err := m.Flush(t.Context()); !errors.Is(err, push.ErrMergerStopped) {
			t.Errorf("Flush after the stop: %v", err)
		}
	})
}

// TestBatchAcceptance06Merging is the merge table. A row says what the consumer has
// accepted, what comes then, and what is delivered of it in one batch.
func TestBatchAcceptance06Merging(t *testing.T) {
	for _, row := range []struct{ has, comes, want string }{
		{"", "+a#u@1", "+a#u@1"},
		{"", "~a#u@1", "+a#u@1"},
		{"", "-a#u@1", "-a#u@1"}, // nobody knows
		{"+a#u@1", "~a#u@2", "~a#u@2"},
		{"+a#u@1", "+a#u@2", "~a#u@2"},
		{"+a#u@1", "-a#u@2", "-a#u@1"},
		{"", "+a#u@1 ~a#u@2", "+a#u@2"},
		{"", "+a#u@1 -a#u@2", ""},
		{"", "~a#u@1 -a#u@2", "-a#u@2"},
		{"", "+a#u@1 ~a#u@2 -a#u@3", ""},
		{"+a#u@1", "~a#u@2 ~a#u@3", "~a#u@3"},
		{"+a#u@1", "~a#u@2 -a#u@3", "-a#u@1"},
		{"+a#u@1", "-a#u@2 +a#v@3", "a#u@1=a#v@3"},
		{"+a#u@1", "+a#v@3", "a#u@1=a#v@3"},
		{"", "-a#u@2 +a#v@3", "a#u@2=a#v@3"},
		{"", "+a#u@1 -a#u@2 +a#v@3", "+a#v@3"},
		{"+a#u@1", "-a#u@2 +a#v@3 ~a#v@4", "a#u@1=a#v@4"},
		{"+a#u@1", "-a#u@2 +a#v@3 -a#v@4", "-a#u@1"},
		{"", "-a#u@2 +a#v@3 -a#v@4", "-a#u@2"},
		{"+a#u@5", "~a#u@5 ~a#u@4 +a#u@3", ""},
		{"+a#u@5", "-a#t@3 +a#t@2", ""}, // of an earlier one
		{"", "~a#u@5 ~a#u@4", "+a#u@5"},
		{"", "+b#v@1 +a#u@2 ~b#v@3 +c#w@4 -c#w@5", "+b#v@3 +a#u@2"},
		{"+a#u@1 +b#v@2", "~b#v@3 ~a#u@4 ~b#v@5", "~b#v@5 ~a#u@4"},
		{"+a#u@x", "~a#u@y ~a#u@y", "~a#u@y"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var got []string
			m, err := push.NewEventMerger("m", push.MergerConfig[informertest.Object]{}, func(_ context.Context, b push.Batch[informertest.Object]) error {
				got = append(got, strings.TrimSuffix(describeBatch(b), " to "))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = m.Run(ctx) }()
			for _, words := range []string{row.has, row.comes} {
				got = nil
				for _, w := range strings.Fields(words) {
					kinds := map[byte]watch.EventType{'+': watch.Added, '~': watch.Modified, '-': watch.Deleted}
					obj := informertest.ParseObject(w[1:])
					if err := m.Add(ctx, kinds[w[0]], informertest.MetaOf(obj), obj); err != nil {
						t.Fatal(err)
					}
				}
				if err := m.Flush(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(strings.Split(row.want, ";")) && (row.want != "" || len(got) != 0) {
				t.Errorf("accepted %q, then %q: delivered %q, want %q", row.has, row.comes, got, row.want)
			}
		})
	}
}

// 100,000 objects: pages reach the consumer before the list is complete, and the heap
// stays flat. 410 on page 2 breaks the snapshot off; the next one has a limit as well.
func TestBatchAcceptance07Pages(t *testing.T) {
	const n = 100_000
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.BulkServer{N: n}
		c := &countingConsumer{server: server}
		b, err := push.NewBatcher("bulk", push.BatcherConfig[informertest.Object]{ListerWatcher: server, Consumer: c})
		if err != nil {
			t.Fatal(err)
		}
		c.before = informertest.HeapInUse()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		<-b.Synced()
		cancel()
		wg.Wait()
		if c.objects != n || c.firstPageAt != 1 {
			t.Errorf("%d objects in the pages, the first one after %d requests", c.objects, c.firstPageAt)
		}
		// What the consumer has is known by key, UID and version.
		if grown := c.grown; grown > n*110 {
			t.Errorf("the heap grew by %d bytes within the list", grown)
		}
		t.Logf("the heap grew by %d KiB", c.grown>>10)
	})

	p := playBatches(t, `
page 2
list rv=100 continue=p2 a@1 b@2
list error 410
list rv=110 continue=p2 a@1 b@2
list rv=110 c@105
watch
stop 10s`)
	p.want(t, "begin 1 first", "page a@1 b@2", "abort 1", "begin 2 first", "page a@1 b@2", "page c@105", "end 110")
	for _, request := range p.requests[:4] {
		if !strings.Contains(request, "limit=2") {
			t.Errorf("a list without the limit: %s", request)
		}
	}
}

// countingConsumer counts, and looks at the heap in the middle.
type countingConsumer struct {
	server      *informertest.BulkServer
	before      uint64
	grown       int64
	objects     int
	firstPageAt int64
}

func (c *countingConsumer) BeginSnapshot(context.Context, push.SnapshotInfo) error { return nil }
func (c *countingConsumer) SnapshotPage(_ context.Context, _ push.SnapshotInfo, page []informer.Object[informertest.Object]) error {
	if c.objects == 0 {
		c.firstPageAt = c.server.Pages.Load()
	}
	if c.objects += len(page); c.objects > c.server.N-1000 && c.grown == 0 {
		c.grown = int64(informertest.HeapInUse()) - int64(c.before)
	}
	return nil
}
func (c *countingConsumer) EndSnapshot(context.Context, push.SnapshotInfo) error { return nil }
func (c *countingConsumer) AbortSnapshot(push.SnapshotInfo, error)               {}
func (c *countingConsumer) OnBatch(context.Context, push.Batch[informertest.Object]) error {
	return nil
}

// A slow consumer is called one call at a time, with batches that are bounded; what
// is pending is bounded by the keys, and by MaxPending.
func TestBatchAcceptance08SlowConsumer(t *testing.T) {
	var script strings.Builder
	script.WriteString("list rv=100 a@1\nwatch\n  after 1s\n")
	for i := range 300 {
		fmt.Fprintf(&script, "  ~k%d@%d\n", i%10, 101+i)
	}
	script.WriteString("consumer slow 10s batch\nstop 30s")
	p := playBatches(t, script.String(), func(cfg *push.BatcherConfig[informertest.Object]) {
		cfg.Merger.MaxItems, cfg.Merger.MaxPending = 4, 12
	})
	for _, call := range p.calls[3:] {
		if n := strings.Count(call, "k"); !strings.HasPrefix(call, "batch") || n > 4 {
			t.Errorf("%q", call)
		}
	}
	if p.stats.Pending != 0 || p.stats.Accepted != 11 || p.stats.Snapshots != 1 {
		t.Errorf("%+v", p.stats)
	}
	if !strings.Contains(p.text, "to 400") {
		t.Error("the last version was not told")
	}
}

// A cancel during a list, a backoff or a flush: Run returns promptly, and no call
// follows.
func TestBatchAcceptance09Cancel(t *testing.T) {
	for name, script := range map[string]string{
		"in a list":     "list hang\nstop 2s",
		"in a page":     "page 1\nlist rv=100 continue=p2 a@1\nlist hang\nstop 2s",
		"in a backoff":  "list error 500\nlist error 500\nstop 2s",
		"in a snapshot": "list rv=100 a@1\nconsumer slow 1h page\nstop 2s",
		"in the end":    "list rv=100 a@1\nconsumer slow 1h end\nstop 2s",
		"in a watch":    "list rv=100 a@1\nwatch\nstop 2s",
		"in a retry":    "list rv=100 a@1\nwatch\n  ~a@101\n" + strings.Repeat("consumer refuse batch\n", 9) + "stop 2s",
	} {
		t.Run(name, func(t *testing.T) {
			p := playBatches(t, script)
			if !strings.Contains(p.text, "2.0s    Run returns") {
				t.Error("Run did not return at once")
			}
			_, after, _ := strings.Cut(p.text, "stop\n")
			if strings.Contains(after, "   > ") || strings.Contains(after, "begin") {
				t.Error("something began after the stop")
			}
		})
	}
}

// All methods at once from many goroutines while much happens: for the race detector,
// which all of the others run under as well.
func TestBatchAcceptance10Concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		server := &informertest.BulkServer{N: n}
		consumer := &countingConsumer{server: server}
		b, err := push.NewBatcher("bulk", push.BatcherConfig[informertest.Object]{
			ListerWatcher: server, Consumer: consumer, Settings: informer.Settings{PageSize: 20}, MinSnapshotInterval: time.Second,
			Merger: push.MergerConfig[informertest.Object]{MaxItems: 7, MaxPending: 50, Quiet: time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		for i := range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					b.Stats()
					b.HasSynced()
					if i == 0 {
						b.Resync(errors.New("asked"))
					} else if err := b.Flush(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
					time.Sleep(time.Duration(7*(i+1)) * time.Millisecond)
				}
			})
		}
		<-b.Synced()
		time.Sleep(5 * time.Second)
		s := b.Stats()
		cancel()
		wg.Wait()
		if s.Snapshots < 3 || s.Snapshots > 7 || s.Pending > 50 {
			t.Errorf("%+v", s)
		}
		if err := b.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}
