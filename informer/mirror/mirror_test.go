// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// What is missing or makes no sense is an error of the constructor that says what
// to do.
func TestInformerConfigIsChecked(t *testing.T) {
	handler := mirror.ResourceEventHandlerFuncs[informertest.Object]{}
	server := &informertest.ScriptedServer{}
	keep := func(informertest.Object) bool { return true }
	for name, test := range map[string]struct {
		cfg  mirror.InformerConfig[informertest.Object]
		want string
	}{
		"no handler":        {mirror.InformerConfig[informertest.Object]{ListerWatcher: server}, "Handler is nil"},
		"no source":         {mirror.InformerConfig[informertest.Object]{Handler: handler}, "ListerWatcher and Source are nil"},
		"a nil source":      {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: (*informertest.ScriptedServer)(nil)}, "ListerWatcher and Source are nil"},
		"two sources":       {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, Source: informertest.CarelessSource{}}, "both set"},
		"a useless change":  {mirror.InformerConfig[informertest.Object]{Handler: handler, Source: informertest.CarelessSource{}, Transform: func(runtime.Object) (informertest.Object, error) { return nil, nil }}, "Transform"},
		"negative workers":  {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, Workers: -1}, "Workers is negative"},
		"negative pending":  {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, MaxPending: -1}, "MaxPending is negative"},
		"negative bytes":    {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, MaxPendingBytes: -1}, "MaxPendingBytes is negative"},
		"negative resync":   {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, Settings: informer.Settings{ResyncInterval: -1}}, "ResyncInterval is -1ns"},
		"negative page":     {mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server, Settings: informer.Settings{PageSize: -1}}, "PageSize is -1"},
		"a filter of none":  {mirror.InformerConfig[informertest.Object]{Handler: mirror.FilteringResourceEventHandler[informertest.Object]{FilterFunc: keep}, ListerWatcher: server}, "give the handler for the objects that match"},
		"no filter":         {mirror.InformerConfig[informertest.Object]{Handler: mirror.FilteringResourceEventHandler[informertest.Object]{Handler: handler}, ListerWatcher: server}, "FilterFunc is nil"},
		"no filter, deeper": {mirror.InformerConfig[informertest.Object]{Handler: mirror.FilteringResourceEventHandler[informertest.Object]{FilterFunc: keep, Handler: mirror.FilteringResourceEventHandler[informertest.Object]{Handler: handler}}, ListerWatcher: server}, "FilterFunc is nil"},
	} {
		if _, err := mirror.NewResourceVersionInformer("pods", test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		} else if !strings.Contains(err.Error(), "pods") {
			t.Errorf("%s: error %v does not name the informer", name, err)
		}
	}
	cfg := mirror.InformerConfig[informertest.Object]{Handler: handler, ListerWatcher: server}
	if _, err := mirror.NewResourceVersionInformer("", cfg); err == nil || !strings.Contains(err.Error(), "name is empty") {
		t.Errorf("without a name: %v", err)
	}
	if i, err := mirror.NewResourceVersionInformer("pods", cfg); err != nil || i.HasSynced() || i.ResumeVersion() != "" || !i.LastContact().IsZero() {
		t.Errorf("the least that is needed: %v, %v", i, err)
	}
}

// The helper types are what they help with.
var (
	_ mirror.ResourceEventHandler[informertest.Object] = mirror.ResourceEventHandlerFuncs[informertest.Object]{}
	_ mirror.ResourceEventHandler[informertest.Object] = mirror.FilteringResourceEventHandler[informertest.Object]{}
	_ mirror.ResourceVersionUpdater                    = mirror.FilteringResourceEventHandler[informertest.Object]{}
	_ mirror.ResourceVersionStorage                    = mirror.NewResourceVersionStorage()
)

// Functions that are nil do nothing; without a SyncFunc nothing is queued for it.
func TestResourceEventHandlerFuncs(t *testing.T) {
	var got []string
	record := func(what string, m store.Meta) error {
		got = append(got, what+" "+m.Key.Name)
		return nil
	}
	funcs := mirror.ResourceEventHandlerFuncs[informertest.Object]{
		AddFunc: func(_ context.Context, obj informer.Object[informertest.Object]) error {
			return record("add", obj.Meta)
		},
		UpdateFunc: func(_ context.Context, _ store.Meta, obj informer.Object[informertest.Object]) error {
			return record("update", obj.Meta)
		},
		DeleteFunc: func(_ context.Context, gone mirror.Deletion[informertest.Object]) error {
			return record("delete", gone.Meta)
		},
		SyncFunc: func(_ context.Context, obj informer.Object[informertest.Object]) error {
			return record("sync", obj.Meta)
		},
	}
	const script = "config sync\nseed a@1 b@2 c@3\nlist rv=100 a@1 b@50 d@60\nwatch\nstop 5s"
	playMirror(t, script, func(cfg *mirror.InformerConfig[informertest.Object]) { cfg.Handler = funcs })
	if want := []string{"sync a", "update b", "add d", "delete c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
	funcs.SyncFunc = nil
	p := playMirror(t, script, func(cfg *mirror.InformerConfig[informertest.Object]) { cfg.Handler = funcs })
	if p.stats.Shown != 0 || p.stats.Unchanged != 1 {
		t.Errorf("%+v", p.stats)
	}
	p = playMirror(t, script, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Handler = mirror.ResourceEventHandlerFuncs[informertest.Object]{}
	})
	p.wantRecorded(t, "a@1", "b@50", "d@60")
}

// ownSync embeds the functions and has an OnSync of its own.
type ownSync struct {
	mirror.ResourceEventHandlerFuncs[informertest.Object]
	got *[]string
}

func (h ownSync) OnSync(_ context.Context, obj informer.Object[informertest.Object]) error {
	*h.got = append(*h.got, "sync "+obj.Meta.Key.Name)
	return nil
}

// Functions without a SyncFunc imply SkipSync only if they are the handler. A type that
// embeds them, and a filter around them, has an OnSync of its own, which is called.
func TestOwnOnSync(t *testing.T) {
	const script = "config sync\nseed a@1 b@2\nlist rv=100 a@1 b@2\nwatch\nstop 5s"
	var got []string
	funcs := mirror.ResourceEventHandlerFuncs[informertest.Object]{
		DeleteFunc: func(_ context.Context, gone mirror.Deletion[informertest.Object]) error {
			got = append(got, "delete "+gone.Key.Name)
			return nil
		},
	}
	for name, test := range map[string]struct {
		handler mirror.ResourceEventHandler[informertest.Object]
		want    []string
		shown   uint64
	}{
		"embeds":             {ownSync{funcs, &got}, []string{"sync a", "sync b"}, 2},
		"embeds, pointer":    {&ownSync{funcs, &got}, []string{"sync a", "sync b"}, 2},
		"functions, pointer": {&funcs, nil, 0},
		"filter, which has changed": {mirror.FilteringResourceEventHandler[informertest.Object]{
			FilterFunc: func(obj informertest.Object) bool { return obj.Name != "a" }, Handler: funcs,
		}, []string{"delete a"}, 1},
	} {
		got = nil
		p := playMirror(t, script, func(cfg *mirror.InformerConfig[informertest.Object]) { cfg.Handler, cfg.Workers = test.handler, 1 })
		if !slices.Equal(got, test.want) || p.stats.Shown != test.shown {
			t.Errorf("%s: calls %q, want %q; %d shown, want %d", name, got, test.want, p.stats.Shown, test.shown)
		}
	}
}

// The extra store receives everything, unchanged objects and whole passes included,
// and what it refuses is not queued.
func TestExtraStore(t *testing.T) {
	extra, err := store.New(store.Config[informertest.Object]{})
	if err != nil {
		t.Fatal(err)
	}
	refuse := true
	p := playMirror(t, `
seed a#u@1 gone#x@2
list rv=100 a#u@1 b#v@50
watch
  after 1s
  +c#w@101
  -b#v@102
  bookmark 150
  after 1s
  ~c#w@151
  error 500
watch
  ~c#w@151
stop 20s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.ExtraStore = refusing{extra, func(m store.Meta) error {
			if m.Version == "151" && refuse {
				refuse = false
				return errors.New("refused")
			}
			return nil
		}}
	})
	p.want(t, "add b#v@50 (initial)", "delete gone#x@2 (initial)", "add c#w@101", "delete b#v@50 last b#v@102", "update c#w@151 was c#w@101")
	if got := fmt.Sprintf("%d %s %d", extra.Len(), extra.Version(), extra.Stats().Commits); got != "2 151 1" {
		t.Errorf("the extra store has, at version, after passes: %s", got)
	}
	if refuse {
		t.Error("nothing was refused")
	}
}

type refusing struct {
	store.Sink[informertest.Object]
	refuse func(store.Meta) error
}

func (r refusing) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	if err := r.refuse(m); err != nil {
		return err
	}
	return r.Sink.Apply(ctx, m, obj)
}

// ResyncInterval has a pass after that time, with a little at random, counted from
// the last pass.
func TestResyncInterval(t *testing.T) {
	var passes []time.Duration
	start := time.Time{}
	p := playMirror(t, `
config sync
list rv=100 a@1
watch
list rv=120 a@1
watch
list rv=140 a@1
watch
resync 150s
stop 249s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.ResyncInterval = 100 * time.Second
		start = time.Now()
		cfg.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
			if _, ok := o.(informer.ListStarted); ok {
				passes = append(passes, time.Since(start))
			}
		})
	})
	if len(passes) != 3 || passes[1] < 100*time.Second || passes[1] > 110*time.Second || passes[2] != 150*time.Second {
		t.Errorf("passes at %v", passes)
	}
	p.want(t, "add a@1 (initial)", "sync a@1", "sync a@1")
}

// A quiet watch is checked, with OnSync.
func TestCheckInterval(t *testing.T) {
	p := playMirror(t, `
config sync
list rv=100 a@1
watch
list rv=120 a@1
watch
stop 100s`, func(cfg *mirror.InformerConfig[informertest.Object]) { cfg.CheckInterval = time.Minute })
	p.want(t, "add a@1 (initial)", "sync a@1")
}

// Progress is that of the pass under way, as far as it has come and as the server
// tells what is left of it.
func TestMirrorProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		h := &lastVersions{version: map[string]string{}, before: func(ctx context.Context) error {
			select {
			case <-stuck:
			case <-ctx.Done():
			}
			return context.Cause(ctx)
		}}
		i := mustInformer(t, mirror.InformerConfig[informertest.Object]{ListerWatcher: &informertest.BulkServer{N: 30}, Handler: h, Settings: informer.Settings{PageSize: 10}, MaxPending: 15})
		if got, want := i.Stats().Pass, (mirror.Progress{Remaining: -1}); got != want {
			t.Errorf("before the list: %+v, want %+v", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = i.Run(ctx) })
		synctest.Wait()
		if got, want := i.Stats().Pass, (mirror.Progress{Objects: 15, Pages: 1, Remaining: 20}); got != want {
			t.Errorf("in the second page: %+v, want %+v", got, want)
		}
		close(stuck)
		<-i.Synced()
		if got := i.Stats().Pass; got.Objects != 30 || got.Pages != 3 || got.Remaining > 0 {
			t.Errorf("after the list: %+v", got)
		}
		cancel()
		wg.Wait()
	})
}

// A failure to save the resume version is reported, and the call repeated.
func TestUpdateResourceVersionFails(t *testing.T) {
	failures := 0
	p := playMirror(t, `
list rv=100 a@1
watch
  after 10s
  bookmark 150
stop 20s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		cfg.Handler = &failingUpdater{ResourceEventHandler: cfg.Handler, fail: func() bool { failures++; return failures < 3 }}
	})
	if failures != 4 || len(p.errors) != 2 || !strings.Contains(p.errors[0].Error(), "UpdateResourceVersion") {
		t.Errorf("%d calls, errors %v", failures, p.errors)
	}
}

type failingUpdater struct {
	mirror.ResourceEventHandler[informertest.Object]
	fail func() bool
}

func (u *failingUpdater) UpdateResourceVersion(context.Context, string) error {
	if u.fail() {
		return errors.New("no room")
	}
	return nil
}

// LastContact is that of any event or bookmark.
func TestLastContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true}
		for _, line := range []string{"list rv=100 a@1", "watch", "  after 10s", "  bookmark 150", "  after 10s", "  ~a@151"} {
			server.Read(line)
		}
		i := mustInformer(t, mirror.InformerConfig[informertest.Object]{ListerWatcher: server, Handler: mirror.ResourceEventHandlerFuncs[informertest.Object]{}})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = i.Run(ctx) }()
		for _, test := range []struct{ at, want time.Duration }{{5 * time.Second, 0}, {15 * time.Second, 10 * time.Second}, {time.Minute, 20 * time.Second}} {
			time.Sleep(test.at - time.Since(start))
			if got := i.LastContact().Sub(start); got != test.want {
				t.Errorf("after %v: last contact after %v, want %v", test.at, got, test.want)
			}
		}
		cancel()
		synctest.Wait()
	})
}

// TestPollIntervalIsPassedOn: a mirror polls at the interval of its configuration.
func TestPollIntervalIsPassedOn(t *testing.T) {
	m := playMirror(t, `
list rv=100 a@1 b@2
watch error 405
watch error 405
list rv=110 a@1 b@105
stop 12s
`, func(c *mirror.InformerConfig[informertest.Object]) { c.PollInterval = 10 * time.Second })
	if want := []string{"add a@1 (initial)", "add b@2 (initial)", "update b@105 was b@2"}; !slices.Equal(m.calls, want) {
		t.Errorf("the mirror's handler: %q, want %q", m.calls, want)
	}
}

// An OnAdd failed, and nobody knows what it wrote; then the object ceases to match the
// filter. The handler is not asked, so it gets an OnDelete, until it acknowledges that.
func TestFilterAfterFailedAdd(t *testing.T) {
	var deletions []mirror.Deletion[informertest.Object]
	p := playMirror(t, `list rv=100
watch
  after 1s
  +a#u@101
  after 50ms
  ~a#u@102
handler refuse add a#u@101
handler refuse delete a
stop 5s`, func(cfg *mirror.InformerConfig[informertest.Object]) {
		h := cfg.Handler
		cfg.Handler = mirror.FilteringResourceEventHandler[informertest.Object]{
			FilterFunc: func(obj informertest.Object) bool { return obj.ResourceVersion == "101" },
			Handler: mirror.ResourceEventHandlerFuncs[informertest.Object]{
				AddFunc: h.OnAdd,
				DeleteFunc: func(ctx context.Context, gone mirror.Deletion[informertest.Object]) error {
					deletions = append(deletions, gone)
					return h.OnDelete(ctx, gone)
				},
			},
		}
	})
	if len(deletions) != 2 || !deletions[1].Known || deletions[1].Object.ResourceVersion != "102" || deletions[1].UID != "u" {
		t.Errorf("deletions: %+v", deletions)
	}
	if len(p.recorded) != 0 || p.stats.Pending != 0 || p.count("delete a#u") != 1 || p.count("add") != 0 {
		t.Errorf("recorded %v, %+v, calls %q", p.recorded, p.stats, p.calls)
	}
}

// OnSync comes once per list, also if the list repeats an object. An object that the list
// has shown already by OnAdd is not shown again.
func TestSyncOncePerList(t *testing.T) {
	p := playMirror(t, `config sync page=2 pending=1
seed a@1
list rv=100 continue=p2 a@1 b@2
list rv=100 continue=p3 b@2 a@1
list rv=100 b@2 a@3
watch
resync 10s
list rv=100 a@3 b@2
watch
stop 20s`)
	want := []string{"sync a@1 (initial)", "add b@2 (initial)", "update a@3 was a@1 (initial)", "sync a@3", "sync b@2"}
	if !slices.Equal(p.calls, want) {
		t.Errorf("calls %q, want %q", p.calls, want)
	}
}
