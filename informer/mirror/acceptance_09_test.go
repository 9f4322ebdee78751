// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
)

// Versions that are no numbers are equal or not; those of 30 digits are numbers; a
// version that goes back, as after a restore, is the truth; the same name with
// another UID is another object. (B9, B11)
func TestAcceptance09Versions(t *testing.T) {
	const base = "1000000000000000000000000001" // 28 digits, and two more
	p := playMirror(t, strings.ReplaceAll(`
seed a#u@x7 b#v@x1 c#w@N05 d#x@N05
list rv=N10 a#u@x7 b#v@x2 c#w@N06 d#x@N05
watch
  after 1s
  ~c#w@N12
  ~c#w@N11
  ~b#v@x2
  ~b#v@x3
stop 5s`, "N", base))
	p.want(t, "update b#v@x2 was b#v@x1 (initial)", "update c#w@"+base+"06 was c#w@"+base+"05 (initial)",
		"update c#w@"+base+"12 was c#w@"+base+"06", "update b#v@x3 was b#v@x2")

	// Restored: older versions replace newer ones. An object in the recorded version
	// causes no call.
	p = playMirror(t, `
list rv=100 a#u@10 b#v@90 c#w@95
watch
  after 1s
  error toolarge
list error toolarge
list rv=60 a#u@10 c#w@55
watch
  after 1s
  ~c#w@61
stop 5s`)
	p.want(t, "add a#u@10 (initial)", "add b#v@90 (initial)", "add c#w@95 (initial)",
		"update c#w@55 was c#w@95", "delete b#v@90", "update c#w@61 was c#w@55")
	if got := p.resumes[len(p.resumes)-1]; got != "61" {
		t.Errorf("the last resume version is %q, want 61", got)
	}

	p = playMirror(t, `
seed a#u@1
list rv=100 a#u2@50
watch
  after 1s
  -a#u2@101
  after 1s
  +a#u3@102
stop 5s`)
	p.want(t, "delete a#u@1 (initial)", "add a#u2@50 (initial)", "delete a#u2@50 last a#u2@101", "add a#u3@102")
}

// A handler that fails is called again, and until it succeeds nothing is recorded,
// while other keys go on. A restart before that delivers the change again. (B10,
// B18)
func TestAcceptance10HandlerFails(t *testing.T) {
	p := playMirror(t, `
seed b#v@2
list rv=100 a#u@1 b#v@2
watch
  after 1s
  ~b#v@101
  +c#w@102
handler refuse add a
handler refuse add a
handler refuse update b
handler slow 1h update b
stats 1050ms
stop 5s`)
	p.want(t, "add a#u@1 (initial)", "add c#w@102")
	p.wantRecorded(t, "a@1", "b@2", "c@102")
	var failed *informer.HandlerError
	if len(p.errors) != 3 || !errors.As(p.errors[1], &failed) || failed.Call != "OnAdd" || failed.Failures != 2 ||
		failed.Meta.Key.Name != "a" || failed.RetryIn <= 0 {
		t.Errorf("the error handler got %v", p.errors)
	}
	if s := p.stats; s.Failing != 1 || s.HeldBack == nil || s.HeldBack.Key.Name != "b" || s.HeldBack.Err == nil || s.ResumeVersion != "100" {
		t.Errorf("%+v", s)
	}

	again := playMirror(t, `
config resume=100
seed a#u@1 b#v@2 c#w@102
watch
  ~b#v@101
  +c#w@102
stop 5s`)
	again.want(t, "update b#v@101 was b#v@2")
	again.wantRecorded(t, "a@1", "b@101", "c@102")
}

// A watch that is reset is resumed without a list. A start with a saved version
// needs no list either, and just one if the version has expired. (B12)
func TestAcceptance11Resume(t *testing.T) {
	p := playMirror(t, `
list rv=100 a#u@1
watch
  after 20s
  bookmark 150
  ~a#u@151
  error 500
watch error reset
watch
stop 40s`)
	p.wantRequests(t, "list limit=500", "watch version=100", "watch version=151", "watch version=151")

	p = playMirror(t, `
config resume=150
seed a#u@1
watch
  after 10s
  ~a#u@160
stats 2s
stop 20s`)
	p.wantRequests(t, "watch version=150")
	p.want(t, "update a#u@160 was a#u@1")
	if !strings.Contains(p.text, "2.0s    = synced true") {
		t.Error("not synced although there was nothing to catch up on")
	}

	p = playMirror(t, `
config resume=150
seed a#u@1 b#v@2
watch
  error 410
list rv=300 a#u@1 c#w@200
watch
stop 20s`)
	p.wantRequests(t, "watch version=150", "list limit=500", "watch version=300")
	p.want(t, "add c#w@200 (initial)", "delete b#v@2 (initial)")
}

// With initial events by watch, additions are delivered before their end and
// deletions after it. A server without it is asked for pages.
func TestAcceptance12WatchList(t *testing.T) {
	p := playMirror(t, `
config streamed
seed gone#x@3
watch
  +a#u@1
  +b#v@2
  after 5s
  end 100
stats 2s
stop 10s`)
	p.want(t, "add a#u@1 (initial)", "add b#v@2 (initial)", "delete gone#x@3 (initial)")
	before, _, _ := strings.Cut(p.text, "2.0s    =")
	if !strings.Contains(before, "add b#v@2") || strings.Contains(before, "delete") {
		t.Errorf("before the end of the initial events there were only\n%s", before)
	}

	p = playMirror(t, `
config streamed page=7
seed gone#x@3
watch error 422
list rv=100 a#u@1
watch
stop 10s`)
	p.wantRequests(t, "watch match=NotOlderThan initial-events", "list limit=7", "watch version=100")
	p.want(t, "add a#u@1 (initial)", "delete gone#x@3 (initial)")
}

// All methods at once from many goroutines, the handler among them, while much
// happens: for the race detector.
func TestAcceptance13Concurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		var i *mirror.ResourceVersionInformer[informertest.Object]
		look := func() {
			if s := i.Stats(); s.Recorded > n {
				t.Errorf("%+v", s)
			}
			_, versions := i.Snapshot()
			for _, err := range versions {
				if err != nil {
					t.Error(err)
				}
			}
			i.HasSynced()
			i.LastContact()
		}
		h := &lastVersions{version: map[string]string{}}
		h.before = func(context.Context) error {
			time.Sleep(time.Millisecond)
			look()
			return nil
		}
		i = mustInformer(t, mirror.InformerConfig[informertest.Object]{
			ListerWatcher: &informertest.BulkServer{N: n}, Handler: h, Workers: 8, MaxPending: 50, Settings: informer.Settings{PageSize: 20, ResyncInterval: time.Minute},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = i.Run(ctx) })
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					look()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		<-i.Synced()
		i.Resync(errors.New("asked"))
		time.Sleep(3 * time.Minute)
		cancel()
		wg.Wait()
		if err := i.Run(t.Context()); err == nil {
			t.Error("Run ran twice")
		}
	})
}
