// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// What is missing or makes no sense is an error of the constructor that says what
// to do.
func TestInformerConfigIsChecked(t *testing.T) {
	handler := informer.ResourceEventHandlerFuncs[object]{}
	server := &scriptedServer{}
	keep := func(object) bool { return true }
	for name, test := range map[string]struct {
		cfg  informer.InformerConfig[object]
		want string
	}{
		"no handler":        {informer.InformerConfig[object]{ListerWatcher: server}, "Handler is nil"},
		"no source":         {informer.InformerConfig[object]{Handler: handler}, "ListerWatcher and Source are nil"},
		"a nil source":      {informer.InformerConfig[object]{Handler: handler, ListerWatcher: (*scriptedServer)(nil)}, "ListerWatcher and Source are nil"},
		"two sources":       {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, Source: carelessSource{}}, "both set"},
		"a useless change":  {informer.InformerConfig[object]{Handler: handler, Source: carelessSource{}, Transform: func(runtime.Object) (object, error) { return nil, nil }}, "Transform"},
		"negative workers":  {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, Workers: -1}, "Workers is negative"},
		"negative pending":  {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, MaxPending: -1}, "MaxPending is negative"},
		"negative bytes":    {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, MaxPendingBytes: -1}, "MaxPendingBytes is negative"},
		"negative resync":   {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, ResyncPeriod: -1}, "ResyncPeriod is negative"},
		"negative page":     {informer.InformerConfig[object]{Handler: handler, ListerWatcher: server, PageSize: -1}, "PageSize is -1"},
		"a filter of none":  {informer.InformerConfig[object]{Handler: informer.FilteringResourceEventHandler[object]{FilterFunc: keep}, ListerWatcher: server}, "give what the filtered objects go to"},
		"no filter":         {informer.InformerConfig[object]{Handler: informer.FilteringResourceEventHandler[object]{Handler: handler}, ListerWatcher: server}, "FilterFunc is nil"},
		"no filter, deeper": {informer.InformerConfig[object]{Handler: informer.FilteringResourceEventHandler[object]{FilterFunc: keep, Handler: informer.FilteringResourceEventHandler[object]{Handler: handler}}, ListerWatcher: server}, "FilterFunc is nil"},
	} {
		if _, err := informer.NewResourceVersionInformer("pods", test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		} else if !strings.Contains(err.Error(), "pods") {
			t.Errorf("%s: error %v does not name the informer", name, err)
		}
	}
	cfg := informer.InformerConfig[object]{Handler: handler, ListerWatcher: server}
	if _, err := informer.NewResourceVersionInformer("", cfg); err == nil || !strings.Contains(err.Error(), "name is empty") {
		t.Errorf("without a name: %v", err)
	}
	if i, err := informer.NewResourceVersionInformer("pods", cfg); err != nil || i.HasSynced() || i.ResumeVersion() != "" || !i.LastContact().IsZero() {
		t.Errorf("the least that is needed: %v, %v", i, err)
	}
}

// The helper types are what they help with.
var (
	_ informer.ResourceEventHandler[object] = informer.ResourceEventHandlerFuncs[object]{}
	_ informer.ResourceEventHandler[object] = informer.FilteringResourceEventHandler[object]{}
	_ informer.ResourceVersionUpdater       = informer.FilteringResourceEventHandler[object]{}
	_ informer.ResourceVersionStorage       = informer.NewResourceVersionStorage()
)

// Functions that are nil do nothing; without a SyncFunc nothing is queued for it.
func TestResourceEventHandlerFuncs(t *testing.T) {
	var got []string
	record := func(what string, m informer.Meta) error {
		got = append(got, what+" "+m.Key.Name)
		return nil
	}
	funcs := informer.ResourceEventHandlerFuncs[object]{
		AddFunc: func(_ context.Context, obj informer.Object[object]) error { return record("add", obj.Meta) },
		UpdateFunc: func(_ context.Context, _ informer.Meta, obj informer.Object[object]) error {
			return record("update", obj.Meta)
		},
		DeleteFunc: func(_ context.Context, gone informer.Deletion[object]) error { return record("delete", gone.Meta) },
		SyncFunc:   func(_ context.Context, obj informer.Object[object]) error { return record("sync", obj.Meta) },
	}
	const script = "config sync\nseed a@1 b@2 c@3\nlist rv=100 a@1 b@50 d@60\nwatch\nstop 5s"
	playMirror(t, script, func(cfg *informer.InformerConfig[object]) { cfg.Handler = funcs })
	if want := []string{"sync a", "update b", "add d", "delete c"}; !reflect.DeepEqual(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
	funcs.SyncFunc = nil
	p := playMirror(t, script, func(cfg *informer.InformerConfig[object]) { cfg.Handler = funcs })
	if p.stats.Shown != 0 || p.stats.Unchanged != 1 {
		t.Errorf("%+v", p.stats)
	}
	p = playMirror(t, script, func(cfg *informer.InformerConfig[object]) {
		cfg.Handler = informer.ResourceEventHandlerFuncs[object]{}
	})
	p.wantRecorded(t, "a@1", "b@50", "d@60")
}

// The bound counts bytes as well, but lets an object of any size through alone.
func TestMaxPendingBytes(t *testing.T) {
	var mu sync.Mutex
	pending := int64(0)
	p := playMirror(t, `
list rv=100 a@1 b@2 c@3 huge@4 d@5
watch
  after 1s
  +e@101
  +huge2@102
  +f@103
watch
  +huge2@102
  +f@103
watch
  +f@103
stop 1m`, func(cfg *informer.InformerConfig[object]) {
		cfg.MaxPendingBytes = 100
		cfg.SizeOf = func(obj object) int {
			if strings.HasPrefix(obj.Name, "huge") {
				return 1000
			}
			return 40
		}
		h := cfg.Handler.(*scriptedHandler)
		cfg.Handler = informer.FilteringResourceEventHandler[object]{Handler: h, FilterFunc: func(object) bool {
			mu.Lock()
			defer mu.Unlock()
			pending = max(pending, h.play.informer.Stats().PendingBytes)
			return true
		}}
	})
	p.wantRecorded(t, "a@1", "b@2", "c@3", "d@5", "e@101", "f@103", "huge@4", "huge2@102")
	if pending != 1000 {
		t.Errorf("%d bytes were pending at a time, want those of the huge object alone", pending)
	}
}

// What waits takes in changes of its own key, but does not grow over the bound by
// that, unless it is alone.
func TestMaxPendingBytesOfMerged(t *testing.T) {
	var mu sync.Mutex
	pending := int64(0)
	p := playMirror(t, `
config nosave
list rv=100 first@1
watch
  after 1s
  +a@101
  +b@102
  +c@103
  ~b@1104
  ~c@1105
watch
  ~b@1104
  ~c@1105
watch
  ~c@1105
watch
handler slow 1s add a
handler slow 1s add b@102
stop 1m`, func(cfg *informer.InformerConfig[object]) {
		cfg.MaxPendingBytes = 100
		cfg.SizeOf = func(obj object) int {
			if len(obj.ResourceVersion) > 3 {
				return 90
			}
			return 30
		}
		h := cfg.Handler.(*scriptedHandler)
		cfg.Handler = informer.FilteringResourceEventHandler[object]{Handler: h, FilterFunc: func(object) bool {
			time.Sleep(time.Millisecond) // what comes at the same moment is pending by then
			mu.Lock()
			defer mu.Unlock()
			pending = max(pending, h.play.informer.Stats().PendingBytes)
			return true
		}}
	})
	p.wantRecorded(t, "first@1", "a@101", "b@1104", "c@1105")
	// One that came during a call for the same key is let in.
	if pending > 100+90 {
		t.Errorf("%d bytes were pending at a time", pending)
	}
}

// The default estimate of an object's size is of its order of magnitude.
func TestDefaultSizeOf(t *testing.T) {
	big := strings.Repeat("x", 10_000)
	type small struct {
		Name   string
		Labels map[string]string
		ports  []int32
		self   any
	}
	cyclic := &small{Name: big}
	cyclic.self = cyclic
	for name, test := range map[string]struct {
		size     func() int64
		from, to int64
	}{
		"protobuf":     {pendingBytes(t, &corev1.Secret{Data: map[string][]byte{"key": []byte(big)}}), 10_000, 11_000},
		"unstructured": {pendingBytes(t, &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"key": big, "n": int64(1)}, "list": []any{"a", true}}}), 10_000, 11_000},
		"other":        {pendingBytes(t, &small{Name: big, Labels: map[string]string{big: big}, ports: make([]int32, 1000)}), 34_000, 35_000},
		"cyclic":       {pendingBytes(t, cyclic), 10_000, 1 << 40},
		"nil":          {pendingBytes[*small](t, nil), 0, 100},
	} {
		if size := test.size(); size < test.from || size > test.to {
			t.Errorf("%s: %d bytes, want %d to %d", name, size, test.from, test.to)
		}
	}
}

// pendingBytes returns what an informer says of one pending object.
func pendingBytes[T any](t *testing.T, obj T) func() int64 {
	return func() (size int64) {
		synctest.Test(t, func(t *testing.T) {
			server := &scriptedServer{log: func(string, ...any) {}, marker: true}
			server.read("list rv=1 a@1")
			i, err := informer.NewResourceVersionInformer("sizes", informer.InformerConfig[T]{
				ListerWatcher: server,
				Transform:     func(runtime.Object) (T, error) { return obj, nil },
				Handler: informer.ResourceEventHandlerFuncs[T]{AddFunc: func(ctx context.Context, _ informer.Object[T]) error {
					<-ctx.Done()
					return context.Cause(ctx)
				}},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { _ = i.Run(ctx) }()
			synctest.Wait()
			size = i.Stats().PendingBytes
		})
		return size
	}
}

// The extra store is told everything, unchanged objects and whole passes included,
// and what it refuses is not queued.
func TestExtraStore(t *testing.T) {
	extra, err := store.New(store.Config[object]{})
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
stop 20s`, func(cfg *informer.InformerConfig[object]) {
		cfg.ExtraStore = refusing{extra, func(m informer.Meta) error {
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
	store.Sink[object]
	refuse func(informer.Meta) error
}

func (r refusing) Apply(ctx context.Context, m informer.Meta, obj object) error {
	if err := r.refuse(m); err != nil {
		return err
	}
	return r.Sink.Apply(ctx, m, obj)
}

// ResyncPeriod has a pass after that time, with a little at random, counted from
// the last pass.
func TestResyncPeriod(t *testing.T) {
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
stop 249s`, func(cfg *informer.InformerConfig[object]) {
		cfg.ResyncPeriod = 100 * time.Second
		start = time.Now()
		cfg.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
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
		i := mustInformer(t, informer.InformerConfig[object]{ListerWatcher: &bulkServer{n: 30}, Handler: h, PageSize: 10, MaxPending: 15})
		if got, want := i.Stats().Pass, (informer.Progress{Remaining: -1}); got != want {
			t.Errorf("before the list: %+v, want %+v", got, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = i.Run(ctx) })
		synctest.Wait()
		if got, want := i.Stats().Pass, (informer.Progress{Objects: 15, Pages: 1, Remaining: 20}); got != want {
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

// A failure to save the resume version is told, and tried again.
func TestUpdateResourceVersionFails(t *testing.T) {
	failures := 0
	p := playMirror(t, `
list rv=100 a@1
watch
  after 10s
  bookmark 150
stop 20s`, func(cfg *informer.InformerConfig[object]) {
		cfg.Handler = &failingUpdater{ResourceEventHandler: cfg.Handler, fail: func() bool { failures++; return failures < 3 }}
	})
	if failures != 4 || len(p.errors) != 2 || !strings.Contains(p.errors[0].Error(), "UpdateResourceVersion") {
		t.Errorf("%d calls, errors %v", failures, p.errors)
	}
}

type failingUpdater struct {
	informer.ResourceEventHandler[object]
	fail func() bool
}

func (u *failingUpdater) UpdateResourceVersion(context.Context, string) error {
	if u.fail() {
		return errors.New("no room")
	}
	return nil
}

// A storage that fails loses nothing and deletes nothing by mistake.
func TestStorageFails(t *testing.T) {
	p := playMirror(t, `
seed a#u@1 gone#x@2
list rv=100 a#u@1 b#v@50
list rv=100 a#u@1 b#v@50
list rv=100 a#u@1 b#v@50
watch
  after 1s
  ~a#u@101
  error 500
watch
  ~a#u@101
  -b#v@102
stop 1m`, func(cfg *informer.InformerConfig[object]) {
		cfg.Storage = &failingStorage{ResourceVersionStorage: cfg.Storage, left: map[string]int{
			"begin": 1, "mark": 2, "unmarked": 1, "get": 2, "set": 2, "delete": 2,
		}}
	})
	p.wantRecorded(t, "a@101")
	if n := p.count("delete a"); n != 0 {
		t.Errorf("a was deleted: %q", p.calls)
	}
	if p.count("delete gone") == 0 || p.count("update a#u@101") == 0 || p.count("delete b") == 0 {
		t.Errorf("calls %q", p.calls)
	}
	if s := p.stats; !s.Synced || s.Pending != 0 || s.ResumeVersion != "102" {
		t.Errorf("%+v", s)
	}
}

// failingStorage fails so often, by method.
type failingStorage struct {
	informer.ResourceVersionStorage
	mu   sync.Mutex
	left map[string]int
}

func (s *failingStorage) fail(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left[method] == 0 {
		return nil
	}
	s.left[method]--
	return errors.New("the disk: " + method)
}

func (s *failingStorage) Get(key informer.Key) (informer.Meta, bool, error) {
	if err := s.fail("get"); err != nil {
		return informer.Meta{}, false, err
	}
	return s.ResourceVersionStorage.Get(key)
}

func (s *failingStorage) Set(meta informer.Meta, pass uint64) error {
	if err := s.fail("set"); err != nil {
		return err
	}
	return s.ResourceVersionStorage.Set(meta, pass)
}

func (s *failingStorage) Delete(key informer.Key) error {
	if err := s.fail("delete"); err != nil {
		return err
	}
	return s.ResourceVersionStorage.Delete(key)
}

func (s *failingStorage) Begin() (uint64, error) {
	if err := s.fail("begin"); err != nil {
		return 0, err
	}
	return s.ResourceVersionStorage.Begin()
}

func (s *failingStorage) Mark(meta informer.Meta) (bool, error) {
	if err := s.fail("mark"); err != nil {
		return false, err
	}
	return s.ResourceVersionStorage.Mark(meta)
}

func (s *failingStorage) Unmarked() iter.Seq2[informer.Meta, error] {
	if err := s.fail("unmarked"); err != nil {
		return func(yield func(informer.Meta, error) bool) { yield(informer.Meta{}, err) }
	}
	return s.ResourceVersionStorage.Unmarked()
}

// A pass and the acknowledgement of what it shows may overlap: neither is an object
// deleted that the pass saw while it was being recorded, nor one that was recorded
// in place of what Unmarked has yielded.
func TestMirrorRecordsDuringPass(t *testing.T) {
	p := playMirror(t, `
config nosave
list rv=100 a#u@1
watch
  after 1s
  +b#v@101
list rv=110 a#u@1 b#v@101
watch
resync 5500ms
stop 20s`, func(cfg *informer.InformerConfig[object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage, slow: "101"}
	})
	p.want(t, "add a#u@1 (initial)", "add b#v@101")

	p = playMirror(t, `
config nosave
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
list rv=160 a#u@150
watch
handler slow 3s update a
resync 5500ms
stop 20s`, func(cfg *informer.InformerConfig[object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage}
	})
	p.want(t, "add a#u@1 (initial)", "update a#u@101 was a#u@1", "update a#u@150 was a#u@101")

	// The pass lacks both. A is pending until the sweep waits for room for b.
	p = playMirror(t, `
config nosave pending=1
list rv=100 a#u@1 b#v@2
watch
  after 1s
  ~a#u@101
list rv=160
watch
handler slow 6s update a
resync 5500ms
stop 20s`, func(cfg *informer.InformerConfig[object]) {
		cfg.Storage = &slowStorage{ResourceVersionStorage: cfg.Storage}
	})
	p.want(t, "add a#u@1 (initial)", "add b#v@2 (initial)", "update a#u@101 was a#u@1", "delete a#u@101", "delete b#v@2")
}

// slowStorage takes a second to record one version, and two before and after it
// looks for what is not marked, which it gives in the order of the names.
type slowStorage struct {
	informer.ResourceVersionStorage
	slow string
}

func (s *slowStorage) Set(meta informer.Meta, pass uint64) error {
	err := s.ResourceVersionStorage.Set(meta, pass)
	if meta.Version == s.slow {
		time.Sleep(time.Second)
	}
	return err
}

func (s *slowStorage) Unmarked() iter.Seq2[informer.Meta, error] {
	return func(yield func(informer.Meta, error) bool) {
		time.Sleep(2 * time.Second)
		var metas []informer.Meta
		for meta := range s.ResourceVersionStorage.Unmarked() {
			metas = append(metas, meta)
		}
		time.Sleep(2 * time.Second)
		slices.SortFunc(metas, func(a, b informer.Meta) int { return strings.Compare(a.Key.Name, b.Key.Name) })
		for _, meta := range metas {
			if !yield(meta, nil) {
				return
			}
		}
	}
}

// LastContact is that of any event or bookmark.
func TestLastContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		server := &scriptedServer{log: func(string, ...any) {}, marker: true}
		for _, line := range []string{"list rv=100 a@1", "watch", "  after 10s", "  bookmark 150", "  after 10s", "  ~a@151"} {
			server.read(line)
		}
		i := mustInformer(t, informer.InformerConfig[object]{ListerWatcher: server, Handler: informer.ResourceEventHandlerFuncs[object]{}})
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

var _ watch.Interface = (*scriptedWatch)(nil)
