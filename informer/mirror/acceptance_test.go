// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
)

// The acceptance checks of a mirror, by number. Scripts are explained in
// testdata/mirror/README.md, where there are more of them with all that happens.

func (p *mirrorPlay) want(t *testing.T, calls ...string) {
	t.Helper()
	if !slices.Equal(p.calls, calls) {
		t.Errorf("handler calls\n%q\nwant\n%q", p.calls, calls)
	}
}

func (p *mirrorPlay) wantRecorded(t *testing.T, versions ...string) {
	t.Helper()
	want := map[string]string{}
	for _, v := range versions {
		obj := informertest.ParseObject(v)
		want[obj.Name] = obj.ResourceVersion
	}
	if !maps.Equal(p.recorded, want) {
		t.Errorf("recorded are %v, want %v", p.recorded, want)
	}
}

// wantRequests compares the requests, but for the bookmarks that each watch has.
func (p *mirrorPlay) wantRequests(t *testing.T, requests ...string) {
	t.Helper()
	got := slices.Clone(p.requests)
	for i := range got {
		got[i] = strings.TrimSuffix(got[i], " bookmarks")
	}
	if !slices.Equal(got, requests) {
		t.Errorf("requests\n%q\nwant\n%q", got, requests)
	}
}

// 410 on page 2 of 3 with seeded versions: nothing is deleted that is there, the
// new objects of page 3 are added, and every list has a limit. (B1, B5)
func TestAcceptance01ExpiredPage(t *testing.T) {
	p := playMirror(t, `
config page=2
seed a#u@1 b#v@2 c#w@3 d#x@4 gone#y@5
list rv=100 continue=p2 a#u@1 b#v@2
list error 410
list rv=110 continue=p2 a#u@1 b#v@2
list rv=110 continue=p3 c#w@3 d#x@4
list rv=110 e#z@105 f#q@106
watch
stop 5s`)
	p.want(t, "add e#z@105 (initial)", "add f#q@106 (initial)", "delete gone#y@5 (initial)")
	p.wantRecorded(t, "a@1", "b@2", "c@3", "d@4", "e@105", "f@106")
	for _, request := range p.requests {
		if strings.HasPrefix(request, "list") && !strings.Contains(request, "limit=2") {
			t.Errorf("a list without the limit: %s", request)
		}
	}
}

// 5000 objects go to a slow handler, and each changes or is deleted on the watch
// at once: all is delivered, the final versions are right, and what was pending was
// bounded. (B2, B3)
func TestAcceptance02ChangesAtOnce(t *testing.T) {
	const n = 5000
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.BulkServer{N: n}
		h := &lastVersions{version: map[string]string{}, before: func(context.Context) error {
			time.Sleep(50 * time.Microsecond)
			return nil
		}}
		i := mustInformer(t, mirror.InformerConfig[informertest.Object]{ListerWatcher: server, Handler: h, MaxPending: 100})
		h.stats = i.Stats
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = i.Run(ctx) })
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(h.version) != n/2 {
			t.Errorf("%d objects are left, want %d", len(h.version), n/2)
		}
		for k := 0; k < n; k += 2 {
			if got, want := h.version[fmt.Sprintf("o%d", k)], strconv.Itoa(n+1+k); got != want {
				t.Errorf("o%d: version %q, want %s", k, got, want)
			}
		}
		s := i.Stats()
		if s.Pending != 0 || s.Recorded != n/2 || s.ResumeVersion != strconv.Itoa(2*n) {
			t.Errorf("%+v", s)
		}
		if h.highest > 100+4 {
			t.Errorf("%d changes were pending at a time, the bound is 100", h.highest)
		}
		t.Logf("%d calls, %d watches, %d pending at most", h.calls, server.Watches.Load(), h.highest)
		cancel()
		wg.Wait()
	})
}

// 100,000 objects and a handler that is stuck: what was fetched is bounded, and the
// heap stays flat. (B3, B17)
func TestAcceptance03StuckHandler(t *testing.T) {
	const n, bound, page = 100_000, 1000, 500
	synctest.Test(t, func(t *testing.T) {
		server := &informertest.BulkServer{N: n}
		h := &lastVersions{before: func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}}
		i := mustInformer(t, mirror.InformerConfig[informertest.Object]{
			ListerWatcher: server, Handler: h, ErrorHandler: func(informer.ReflectorInfo, error) {},
		})
		before := informertest.HeapInUse()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = i.Run(ctx) })
		time.Sleep(time.Hour)
		synctest.Wait()
		grown := int64(informertest.HeapInUse()) - int64(before)
		t.Logf("%d pages of %d were fetched, the heap grew by %d KiB", server.Pages.Load(), n/page, grown>>10)
		if pages := server.Pages.Load(); pages > bound/page+1 {
			t.Errorf("%d pages were fetched, want at most %d", pages, bound/page+1)
		}
		if grown > 8<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
		if s := i.Stats(); s.Pending > bound || s.Recorded != 0 {
			t.Errorf("%+v", s)
		}
		cancel()
		wg.Wait()
	})
}

// Seeded with equal versions: no update, and as many OnSync as there are objects,
// in pages and streamed. Seeded with newer versions than a server that lags behind
// has: the newest state is asked for, and old events are dropped. (B4)
func TestAcceptance04Seeded(t *testing.T) {
	p := playMirror(t, `
config page=2 sync
seed a#u@1 b#v@2 c#w@3
list rv=100 continue=p2 a#u@1 b#v@2
list rv=100 c#w@3
watch
stop 5s`)
	p.want(t, "sync a#u@1 (initial)", "sync b#v@2 (initial)", "sync c#w@3 (initial)")

	p = playMirror(t, `
config streamed sync
seed a#u@1 b#v@2
watch
  +a#u@1
  +b#v@2
  end 100
stop 5s`)
	p.want(t, "sync a#u@1 (initial)", "sync b#v@2 (initial)")

	// The storage is newer than the resume version. Recorded objects do not go back, also
	// not to an object of the same name that was there before.
	p = playMirror(t, `
config resume=90
seed a#u@120 b#v@2 c#w@110
watch
  ~c#old@92
  -c#old@94
  ~a#u@95
  +n#n@96
  -n#n@97
  ~a#u@120
  after 1s
  error 410
list rv=130 a#u@120 b#v@2 c#w@110
watch
stop 5s`)
	p.wantRequests(t, "watch version=90", "list limit=500", "watch version=130")
	if n := p.count("update") + p.count("delete c"); n != 0 {
		t.Errorf("%d calls for old events: %q", n, p.calls)
	}
	p.wantRecorded(t, "a@120", "b@2", "c@110")
	if p.stats.Stale != 4 {
		t.Errorf("%d stale, want 4", p.stats.Stale)
	}
}

// A list after the watch was answered with 410 is in pages as well, does not show
// what has not changed, and deletes what vanished, once. (B5, B14)
func TestAcceptance05Relist(t *testing.T) {
	p := playMirror(t, `
config page=2
list rv=100 continue=p2 a#u@1 b#v@2
list rv=100 c#w@3
watch
  after 1s
  error 410
list rv=200 continue=p2 a#u@1 c#w@150
list rv=200 d#x@160
watch
  after 1s
  error 410
list rv=300 continue=p2 a#u@1 c#w@150
list rv=300 d#x@160
watch
stop 5s`)
	p.want(t,
		"add a#u@1 (initial)", "add b#v@2 (initial)", "add c#w@3 (initial)",
		"update c#w@150 was c#w@3", "add d#x@160", "delete b#v@2")
	p.wantRequests(t,
		"list limit=2", "list limit=2 continue=p2", "watch version=100",
		"list limit=2 version=100 match=NotOlderThan", "list limit=2 continue=p2", "watch version=200",
		"list limit=2 version=200 match=NotOlderThan", "list limit=2 continue=p2", "watch version=300")
}

// Synced with the last acknowledgement and not before, deletions included; never by
// a stop; and what is initial is what the first pass had. (B6)
func TestAcceptance06Synced(t *testing.T) {
	p := playMirror(t, `
seed gone#x@1
list rv=100 a#u@1 b#v@2
watch
  after 10s
  ~a#u@101
  +c#w@102
  after 1s
  error 410
list rv=200 a#u@101 b#v@150
watch
handler refuse delete gone
handler slow 3s delete gone
stats 2s
stats 4s
stop 30s`)
	p.want(t,
		"add a#u@1 (initial)", "add b#v@2 (initial)", "delete gone#x@1 (initial)",
		"update a#u@101 was a#u@1", "add c#w@102", "update b#v@150 was b#v@2", "delete c#w@102")
	for _, want := range []string{"2.0s    = synced false", "4.0s    = synced true"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("not: %s", want)
		}
	}

	p = playMirror(t, `
config page=1
seed a#u@1 b#v@2
list rv=100 continue=p2 a#u@1
list hang
stop 2s`)
	if s := p.informer.ResumeVersion(); p.stats.Synced || s != "" || len(p.calls) != 0 {
		t.Errorf("stopped in the list: synced %t, resume version %q, calls %q", p.stats.Synced, s, p.calls)
	}
	p.wantRecorded(t, "a@1", "b@2")
}

// A stop in mid-page, in backoff, in a handler or while the queue is full: Run
// returns at once, and nothing is requested after that. That no goroutine is left is
// what playMirror's bubble checks. (B7)
func TestAcceptance07Stop(t *testing.T) {
	for name, script := range map[string]string{
		"in a page":        "config page=1\nlist rv=100 continue=p2 a@1\nlist hang\nstop 2s",
		"in a backoff":     "list error 500\nlist error 500\nlist error 500\nstop 2s",
		"in a handler":     "list rv=100 a@1\nwatch\nhandler slow 1h add a\nstop 2s",
		"in a full queue":  "config pending=1\nlist rv=100 a@1 b@2 c@3\nhandler slow 1h add a\nstop 2s",
		"in a full watch":  "config pending=1\nlist rv=100\nwatch\n  +a@101\n  +b@102\nhandler slow 1h add a\nstop 2s",
		"in a retry":       "list rv=100 a@1\nwatch\n" + strings.Repeat("handler refuse add a\n", 20) + "stop 2s",
		"in a deletion":    "config pending=1\nseed a@1 b@2 c@3\nlist rv=100\nhandler slow 1h delete\nhandler slow 1h delete\nstop 2s",
		"in a full stream": "config streamed pending=1\nwatch\n  +a@1\n  +b@2\n  +c@3\n  end 100\nhandler slow 1h add a\nstop 2s",
	} {
		t.Run(name, func(t *testing.T) {
			p := playMirror(t, script)
			if !strings.Contains(p.text, "2.0s    Run returns: stopped") {
				t.Error("Run did not return at once")
			}
			if _, after, _ := strings.Cut(p.text, "    stop\n"); strings.Contains(after, "> ") {
				t.Error("there was a request after the stop")
			}
		})
	}
}

// A network error on page 3 is reported as it is, and the pass that follows when the page
// has failed five times does not show again what was acknowledged of pages 1 and 2.
// (B8, B15)
func TestAcceptance08ErrorInPage(t *testing.T) {
	p := playMirror(t, `
config page=1
list rv=100 continue=p2 a#u@1
list rv=100 continue=p3 b#v@2
list error reset times=5
list rv=105 continue=p2 a#u@1
list rv=105 continue=p3 b#v@2
list rv=105 c#w@3
watch
stop 40s`)
	p.want(t, "add a#u@1 (initial)", "add b#v@2 (initial)", "add c#w@3 (initial)")
	if len(p.errors) != 1 || !errors.Is(p.errors[0], syscall.ECONNRESET) {
		t.Errorf("the error handler got %v, want the reset connection", p.errors)
	}
}

func mustInformer(t *testing.T, cfg mirror.InformerConfig[informertest.Object]) *mirror.ResourceVersionInformer[informertest.Object] {
	t.Helper()
	i, err := mirror.NewResourceVersionInformer("mirror", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
