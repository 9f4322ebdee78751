// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// laterSink records the calls after the first list of a recording: the state, and then what
// changes it.
type laterSink struct {
	*callSink
	isRecorded func() bool
	first      uint64 // the epoch of that list, 0: it has not begun
	after      func() // is called after the list
}

func newLaterSink(t *testing.T, blocks bool, isRecorded func() bool, after func()) *laterSink {
	s := &laterSink{callSink: newCallSink(t, blocks), isRecorded: isRecorded, after: after}
	s.calm = true
	return s
}

func (s *laterSink) Begin(ctx context.Context, p store.Pass) error {
	if s.first == 0 && s.isRecorded() {
		s.first = p.Epoch
	}
	p.Epoch -= s.first
	return s.callSink.Begin(ctx, p)
}

func (s *laterSink) Abort(p store.Pass, cause error) {
	p.Epoch -= s.first
	s.callSink.Abort(p, cause)
}

func (s *laterSink) Commit(ctx context.Context, version string) error {
	err := s.callSink.Commit(ctx, version)
	if s.calm && s.first != 0 && err == nil {
		s.calm, s.calls = false, nil
		for key := range s.Keys() {
			m, _ := s.GetMeta(key)
			s.calls = append(s.calls, fmt.Sprint("state ", m))
		}
		slices.Sort(s.calls)
		s.after()
	}
	return err
}

// A recording that begins while a watch runs is replayed without the state from before. After
// its first list the sink has the same objects, and then gets the same calls.
func TestHistoriesFromTheMiddle(t *testing.T) {
	informertest.PlayRounds(t, func(t *testing.T, seed uint64, counts map[string]int) {
		path := filepath.Join(t.TempDir(), "things")
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			m := informertest.NewModel()
			for range rng.IntN(20) {
				m.Mutate(rng)
			}
			client := &informertest.ModelClient{M: m, Rng: rand.New(rand.NewPCG(seed, 2)), Streams: rng.IntN(2) == 0}
			blocks := rng.IntN(3) == 0
			begin := time.Minute + time.Duration(rng.IntN(60_000))*time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), long)
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					m.Mutate(rng)
					if rng.IntN(20) == 0 {
						m.Compact()
					}
					time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				}
			}()
			var recorded record.Switch
			want := newLaterSink(t, blocks, func() bool { return recorded.Path() != "" }, func() { client.Chaos = true })
			src := source.FromListerWatcher[informertest.Object](client, nil, source.WithRecordingSwitch(&recorded))
			runThen(t, src, want, long, func(r *informer.Reflector[informertest.Object]) {
				time.Sleep(begin)
				if err := recorded.Start(record.NewFile(path)); err != nil {
					t.Error(err)
				}
				r.Resync(errors.New("recording begins"))
			})
			if err := recorded.Stop(); err != nil {
				t.Error(err)
			}

			file, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			replay, err := record.NewReplay[informertest.Object](file, 1)
			if err != nil {
				t.Fatal(err)
			}
			got := newLaterSink(t, blocks, func() bool { return true }, func() {})
			got.until = got.until.Add(-begin)
			run(t, replay, got, long-begin)
			if g, w := got.calls, want.calls; !slices.Equal(g, w) {
				i := 0
				for i < min(len(g), len(w)) && g[i] == w[i] {
					i++
				}
				t.Fatalf("call %d differs (error %v): got %d calls\n%s\nrecorded were %d\n%s", i, replay.Err(), len(g), part(g, i), len(w), part(w, i))
			}
			if replay.Err() != nil {
				t.Error(replay.Err())
			}
			for _, call := range want.calls {
				name, _, _ := strings.Cut(call, " ")
				counts[name]++
			}
		})
	}, "state", "begin", "has", "apply", "delete", "commit", "abort", "progress")
}

// pass lists src once, as a sink that has all objects does.
func pass[T any](t *testing.T, src informer.Source[T], opts metav1.ListOptions) {
	t.Helper()
	if _, err := src.List(t.Context(), opts, func(informer.Item[T]) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// A recording begins with the first call of a source, or later with a list of the newest
// state, which has all objects. Lists after it have what was decoded.
func TestSwitch(t *testing.T) {
	dir := t.TempDir()
	var s record.Switch
	src := record.NewSwitchedSource(listOf(podsNamed("a", "b")...), &s)
	record1, record2 := filepath.Join(dir, "1"), filepath.Join(dir, "2.gz")
	start := func(path string) {
		t.Helper()
		if err := s.Start(record.NewFile(path)); err != nil {
			t.Fatal(err)
		}
		if got := s.Path(); got != path {
			t.Errorf("the path is %q, want %q", got, path)
		}
	}
	stop := func() {
		t.Helper()
		if err := s.Stop(); err != nil || s.Path() != "" {
			t.Errorf("error %v, path %q", err, s.Path())
		}
	}
	start(record1)
	if err := s.Start(record.NewFile(record2)); err == nil || !strings.Contains(err.Error(), record1) {
		t.Errorf("the error of a second start is %v", err)
	}
	pass(t, src, metav1.ListOptions{ResourceVersion: "5"})
	stop()
	pass(t, src, metav1.ListOptions{})
	start(record2)
	pass(t, src, metav1.ListOptions{ResourceVersion: "6"})
	pass(t, src, metav1.ListOptions{Continue: "next"})
	pass(t, src, metav1.ListOptions{Limit: 3})
	pass(t, src, metav1.ListOptions{ResourceVersion: "7"})
	stop()
	stop()

	replay := func(path string, opts metav1.ListOptions) (errs []error) {
		t.Helper()
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r, err := record.NewReplay[*corev1.Pod](file, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.List(t.Context(), opts, func(item informer.Item[*corev1.Pod]) error {
			_, err := item.Decode()
			errs = append(errs, err)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return errs
	}
	for _, err := range replay(record1, metav1.ListOptions{ResourceVersion: "5"}) {
		if err == nil {
			t.Error("an object is recorded that was not decoded")
		}
	}
	if errs := replay(record2, metav1.ListOptions{Limit: 3}); len(errs) != 2 || errors.Join(errs...) != nil {
		t.Errorf("errors of the first list: %v", errs)
	}
}

// After an error of the file, and at the limit, a new recording can be started. The log has
// one line.
func TestSwitchAfterTheEnd(t *testing.T) {
	var log bytes.Buffer
	var s record.Switch
	src := record.NewSwitchedSource(listOf(podsNamed("a")...), &s)
	logger, dir := record.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), t.TempDir()
	for _, err := range []error{
		s.Start(record.NewFile(filepath.Join(dir, "none", "pods")), logger),
		func() error { pass(t, src, metav1.ListOptions{}); return nil }(),
		s.Start(record.NewFile(filepath.Join(dir, "pods")), logger, record.WithLimit(300)),
		func() error { pass(t, src, metav1.ListOptions{}); return nil }(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	pass(t, src, metav1.ListOptions{})
	if s.Path() != "" || strings.Count(log.String(), "Recording has ended") != 2 {
		t.Errorf("path %q, logged is %s", s.Path(), &log)
	}
	if err := s.Start(record.NewFile("pods"), record.WithLimit(-1)); err == nil || s.Path() != "" {
		t.Errorf("an invalid option: error %v, path %q", err, s.Path())
	}
}

// Start and Stop can be called while the source is read.
func TestSwitchConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pods")
	var s record.Switch
	src := record.NewSwitchedSource(listOf(podsNamed("a", "b", "c")...), &s)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			if err := errors.Join(s.Start(record.NewFile(path)), s.Stop()); err != nil {
				t.Error(err)
			}
		}
	})
	for range 100 {
		if got := decodeAll(t, src); len(got) != 3 {
			t.Errorf("got %v", got)
		}
	}
	wg.Wait()
}

// A switched source without a recording returns the items and streams of its source. With
// one, items know their size.
func TestSwitchAddsNothing(t *testing.T) {
	var s record.Switch
	src := record.NewSwitchedSource[*corev1.Pod](sizedList{listOf(podsNamed("a")...)}, &s)
	list := func() {
		t.Helper()
		_, err := src.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[*corev1.Pod]) error {
			if _, same := item.(sizedItem); same == (s.Path() != "") {
				t.Errorf("recorded to %q: the item is a %T", s.Path(), item)
			}
			if got := item.(interface{ Size() int }).Size(); got != 42 {
				t.Errorf("size %d, want 42", got)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	list()
	if err := s.Start(record.NewFile(filepath.Join(t.TempDir(), "pods"))); err != nil {
		t.Fatal(err)
	}
	list()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	list()
	if _, err := informer.NewReflector(informer.Config[*corev1.Pod]{Source: record.NewSwitchedSource(src, nil), Sink: informertest.NewChanSink[*corev1.Pod]()}); err == nil {
		t.Error("no error for a nil switch")
	}
}

// sizedList is a list of items that know their size.
type sizedList struct{ informer.Source[*corev1.Pod] }

type sizedItem struct{ informer.Item[*corev1.Pod] }

func (sizedItem) Size() int { return 42 }

func (s sizedList) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[*corev1.Pod]) error) (informer.Page, error) {
	return s.Source.List(ctx, opts, func(item informer.Item[*corev1.Pod]) error { return yield(sizedItem{item}) })
}
