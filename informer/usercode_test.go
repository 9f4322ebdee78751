// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// faulty panics in so many calls of each function.
type faulty map[string]int

func (f faulty) call(function string) {
	if f[function] > 0 {
		f[function]--
		panic("fault in " + function)
	}
}

// faultySource has a@1 and b@1; a watch adds c@2, deletes it at 3, and goes on to 4. Each of
// its methods can panic, as those of a user. A client of fakeapi does not.
type faultySource struct {
	faulty
	streams bool
}

type faultyItem struct {
	faulty
	plainItem
}

func (i faultyItem) Meta() store.Meta { i.call("Meta"); return i.plainItem.Meta() }

func (i faultyItem) Decode() (informertest.Object, error) {
	i.call("Decode of the item")
	return i.plainItem.Decode()
}

func (s faultySource) item(text string) faultyItem {
	return faultyItem{s.faulty, plainItem{informertest.ParseObject(text)}}
}

func (s faultySource) WatchList() bool { s.call("WatchList of the source"); return s.streams }

func (s faultySource) List(_ context.Context, _ metav1.ListOptions, yield func(informer.Item[informertest.Object]) error) (informer.Page, error) {
	s.call("List of the source")
	for _, text := range []string{"a@1", "b@1"} {
		if err := yield(s.item(text)); err != nil {
			return informer.Page{}, err
		}
	}
	return informer.Page{Version: "1"}, nil
}

func (s faultySource) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[informertest.Object], error) {
	s.call("Watch of the source")
	stream := &faultyStream{faulty: s.faulty, ctx: ctx}
	if opts.SendInitialEvents != nil {
		for _, text := range []string{"a@1", "b@1"} {
			stream.events = append(stream.events, informer.WatchEvent[informertest.Object]{Type: watch.Added, Item: s.item(text), Version: "1"})
		}
		stream.events = append(stream.events, informer.WatchEvent[informertest.Object]{Type: watch.Bookmark, Version: "1", InitialEventsEnd: true})
	}
	for _, e := range []informer.WatchEvent[informertest.Object]{
		{Type: watch.Added, Item: s.item("c@2"), Version: "2"},
		{Type: watch.Deleted, Item: s.item("c@3"), Version: "3"},
		{Type: watch.Bookmark, Version: "4"},
	} {
		if order, _ := store.CompareVersions(e.Version, opts.ResourceVersion); order > 0 || opts.ResourceVersion == "" {
			stream.events = append(stream.events, e)
		}
	}
	return stream, nil
}

type faultyStream struct {
	faulty
	ctx    context.Context
	events []informer.WatchEvent[informertest.Object]
}

func (w *faultyStream) Next() (informer.WatchEvent[informertest.Object], error) {
	w.call("Next of the stream")
	if len(w.events) == 0 {
		<-w.ctx.Done()
		return informer.WatchEvent[informertest.Object]{}, context.Cause(w.ctx)
	}
	e := w.events[0]
	w.events = w.events[1:]
	return e, nil
}

func (w *faultyStream) Stop() { w.call("Stop of the stream") }

type faultySink struct{ faulty }

func (s faultySink) Begin(context.Context, store.Pass) error { s.call("Begin of the sink"); return nil }
func (s faultySink) Has(store.Meta) bool                     { s.call("Has of the sink"); return false }
func (s faultySink) Apply(context.Context, store.Meta, informertest.Object) error {
	s.call("Apply of the sink")
	return nil
}
func (s faultySink) Page(context.Context, store.PageInfo) error {
	s.call("Page of the sink")
	return nil
}
func (s faultySink) Delete(context.Context, store.Meta, informertest.Object, bool) error {
	s.call("Delete of the sink")
	return nil
}
func (s faultySink) Commit(context.Context, string) error { s.call("Commit of the sink"); return nil }
func (s faultySink) Abort(store.Pass, error)              { s.call("Abort of the sink") }
func (s faultySink) Progress(context.Context, string) error {
	s.call("Progress of the sink")
	return nil
}
func (s faultySink) MayBlock() bool { s.call("MayBlock of the sink"); return false }

// TestPanicsOfUsers: whatever function of the source, the sink or the observer
// panics, the Reflector goes on, and reports it with the key and the stack.
func TestPanicsOfUsers(t *testing.T) {
	for function, key := range map[string]string{
		"List of the source": "", "Watch of the source": "", "WatchList of the source": "", "Next of the stream": "", "Stop of the stream": "",
		"Decode of the item": "a", "Meta": "", "Begin of the sink": "", "Has of the sink": "a", "Apply of the sink": "a",
		"Page of the sink": "", "Delete of the sink": "c", "Commit of the sink": "", "Abort of the sink": "", "Progress of the sink": "",
		"MayBlock of the sink": "", "observer": "",
	} {
		t.Run(function, func(t *testing.T) {
			testPanicsOf(t, function, key, false)
			if function != "List of the source" && function != "Page of the sink" {
				testPanicsOf(t, function, key, true)
			}
		})
	}
}

func testPanicsOf(t *testing.T, function, key string, streams bool) {
	synctest.Test(t, func(t *testing.T) {
		const times = 3
		f, panics := faulty{function: times}, uint64(times)
		if function == "Abort of the sink" {
			f["Commit of the sink"] = times
			panics += times
		}
		var log bytes.Buffer
		told := 0
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Name: "pods", Source: faultySource{f, streams}, Sink: faultySink{f}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			Observer: informer.Observers(
				informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) { f.call("observer") }),
				informer.ObserverFunc(func(informer.ReflectorInfo, informer.ReflectorEvent) { told++ }),
			),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go func() { _ = r.Run(ctx) }()
		for range times + 1 {
			time.Sleep(20 * time.Minute)
			r.Resync(errors.New("asked")) // which ends a stream
		}
		time.Sleep(20 * time.Minute)
		info := r.Info()
		if info.Version != "4" || info.Err != nil || info.State != informer.StateWatching || told == 0 {
			t.Errorf("streams %t: %+v, %d occurrences", streams, info, told)
		}
		if f[function] != 0 || info.Panics != panics {
			t.Errorf("streams %t: %d panics, %d are left, %d are counted", streams, panics, f[function], info.Panics)
		}
		for _, want := range []string{"resource=pods", "key=" + key, "fault in " + function, "usercode_test.go:"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("streams %t: %q is missing in the log", streams, want)
			}
		}
	})
}
