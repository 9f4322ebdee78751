// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// text renders what a store of client-go is given.
func text(obj any) string {
	switch obj := obj.(type) {
	case informertest.Object:
		return obj.Name + "@" + obj.ResourceVersion
	case cache.DeletedFinalStateUnknown:
		return fmt.Sprintf("unknown(%s, %s)", obj.Key, text(obj.Obj))
	case cache.Deltas:
		var parts []string
		for _, d := range obj {
			parts = append(parts, string(d.Type)+" "+text(d.Object))
		}
		return strings.Join(parts, ", ")
	case cache.ReplacedAllInfo:
		return obj.ResourceVersion + texts(obj.Objects)
	case cache.BookmarkInfo:
		return obj.ResourceVersion
	}
	return fmt.Sprint(obj)
}

// texts renders a list, in its order.
func texts(list []any) string {
	var b strings.Builder
	for _, obj := range list {
		b.WriteString(" " + text(obj))
	}
	return b.String()
}

// contentOf renders what st has, sorted.
func contentOf(st cache.Store) string {
	var all []string
	for _, obj := range st.List() {
		all = append(all, text(obj))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// calls is an ExtraStore that notes its calls, and fails those of fail.
type calls struct {
	log  []string
	fail string
}

func (c *calls) call(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	c.log = append(c.log, what)
	if what == c.fail {
		return errors.New("no")
	}
	return nil
}

func (c *calls) Add(obj any) error    { return c.call("add %s", text(obj)) }
func (c *calls) Update(obj any) error { return c.call("update %s", text(obj)) }
func (c *calls) Delete(obj any) error { return c.call("delete %s", text(obj)) }
func (c *calls) Replace(list []any, version string) error {
	return c.call("replace %s:%s", version, texts(list))
}

// versionedCalls wants to know of versions.
type versionedCalls struct{ *calls }

func (c versionedCalls) UpdateResourceVersion(version string) { _ = c.call("version %s", version) }
func (c versionedCalls) Bookmark(version string) error        { return c.call("bookmark %s", version) }

// keyedCalls can tell what it has.
type keyedCalls struct {
	*calls
	has map[string]any
}

func (c keyedCalls) GetByKey(key string) (any, bool, error) {
	if key == "broken" {
		return nil, false, errors.New("cannot tell")
	}
	obj, ok := c.has[key]
	return obj, ok, nil
}

func (c keyedCalls) Bookmark(version string) { _ = c.call("bookmark %s", version) }

// drive makes the calls of script on sink: "begin", "+a#u@1" applies, "-a@1"
// deletes, "-?a@1" does so without a last state, "commit 5", "progress 5", "abort".
// It returns the first error.
func drive(sink store.Sink[informertest.Object], script string) (first error) {
	ctx := context.Background()
	for _, step := range strings.Split(script, ", ") {
		verb, arg, _ := strings.Cut(step, " ")
		var err error
		switch {
		case verb == "begin":
			err = sink.Begin(ctx, store.Pass{})
		case verb == "commit":
			err = sink.Commit(ctx, arg)
		case verb == "progress":
			err = sink.Progress(ctx, arg)
		case verb == "abort":
			sink.Abort(store.Pass{}, errors.New("broke off"))
		case strings.HasPrefix(step, "-?"):
			obj := informertest.ParseObject(step[2:])
			err = sink.Delete(ctx, store.MetaOf(obj), nil, false)
		default:
			obj := informertest.ParseObject(step[1:])
			if step[0] == '+' {
				err = sink.Apply(ctx, store.MetaOf(obj), obj)
			} else {
				err = sink.Delete(ctx, store.MetaOf(obj), obj, true)
			}
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// TestStoreSinkCalls: which calls of the sink are which calls of the store.
func TestStoreSinkCalls(t *testing.T) {
	plain := func(c *calls) clientgo.ExtraStore { return c }
	versioned := func(c *calls) clientgo.ExtraStore { return versionedCalls{c} }
	keyed := func(c *calls) clientgo.ExtraStore {
		return keyedCalls{c, map[string]any{"a": informertest.ParseObject("a#u@5"), "bare": 7, "other": informertest.ParseObject("x#u@9")}}
	}
	for _, test := range []struct {
		name   string
		store  func(*calls) clientgo.ExtraStore
		script string
		want   string
	}{
		{"a pass is one Replace, in order", plain, "begin, +b@1, +a@2, commit 10", "replace 10: b@1 a@2"},
		{"an empty pass too", plain, "begin, commit 10", "replace 10:"},
		{"changes within a pass", plain, "begin, +a@1, +b@2, +c@3, -b@4, +a@5, -x@6, commit 10", "replace 10: a@5 c@3"},
		{"deleted and made anew within a pass", plain, "begin, +a@1, +b@2, -a@3, +a@4, commit 10", "replace 10: b@2 a@4"},
		{"a pass that breaks off is nothing", plain, "begin, +a@1, -b@2, abort, begin, +c@1, begin, +d@1, commit 10", "replace 10: d@1"},
		{"changes", plain, "begin, commit 10, +a@11, +a@12, -a@13, -?b@14", "replace 10:; update a@11; update a@12; delete a@13; delete unknown(b, <nil>)"},
		{"versions", versioned, "begin, +a@3, commit 10, +a@11, -a@12, progress 20",
			"replace 10: a@3; update a@11; version 11; delete a@12; version 12; bookmark 20; version 20"},
		{"versions do not go back", versioned, "begin, commit 10, -a@9, progress 10", "replace 10:; delete a@9; bookmark 10; version 10"},
		{"but with a pass", versioned, "begin, commit 10, begin, commit 5, +a@6", "replace 10:; replace 5:; update a@6; version 6"},
		{"versions of objects alone are none", versioned, "begin, commit , +a@11, progress 12, +a@13",
			"replace :; update a@11; bookmark 12; version 12; update a@13; version 13"},
		{"versions when resumed", versioned, "+a@11", "update a@11; version 11"},
		{"add or update", keyed, "+a#u@6, +b#u@6, +bare@1", "update a@6; add b@6; update bare@1"},
		{"old events", keyed, "+a#u@5, +a#u@4, +a#v@4, +a#v@6, -a#v@5", "update a@6"},
		{"no old events", keyed, "-a#u@5, -a#v@7, -?a#u@8, +other#u@1, -other#v@1", "delete a@5; delete a@7; delete unknown(a, a@5); update other@1; delete other@1"},
		{"bookmarks of a store", keyed, "progress 12", "bookmark 12"},
	} {
		c := &calls{}
		if err := drive(clientgo.StoreSink[informertest.Object](test.store(c)), test.script); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := strings.Join(c.log, "; "); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.name, got, test.want)
		}
	}
}

// TestStoreSinkErrors: errors of the store are the sink's, and what failed has not
// happened.
func TestStoreSinkErrors(t *testing.T) {
	for fail, script := range map[string]string{
		"replace 10: a@1":          "begin, +a@1, commit 10",
		"update a@11":              "+a@11",
		"delete a@11":              "-a@11",
		"delete unknown(b, <nil>)": "-?b@11",
		"bookmark 20":              "progress 20",
	} {
		c := &calls{fail: fail}
		if err := drive(clientgo.StoreSink[informertest.Object](versionedCalls{c}), script); err == nil {
			t.Errorf("%s: no error", script)
		}
		if len(c.log) != 1 || c.log[0] != fail {
			t.Errorf("%s: calls %q", script, c.log)
		}
	}
	for fail, script := range map[string]string{"add a@11": "+a@11", "": "+broken@1", " ": "-broken@1"} {
		if err := drive(clientgo.StoreSink[informertest.Object](keyedCalls{calls: &calls{fail: fail}}), script); err == nil {
			t.Errorf("%s: no error", script)
		}
	}
	sink := clientgo.StoreSink[informertest.Object](&calls{})
	for _, script := range []string{"commit 10", "begin, commit 10, commit 11", "begin, abort, commit 10"} {
		if err := drive(sink, script); !errors.Is(err, store.ErrNoPass) {
			t.Errorf("%s: %v", script, err)
		}
	}
}

// TestStoreSinkOfNothing: a store that is nil is found when a Reflector is made,
// and is an error in any case.
func TestStoreSinkOfNothing(t *testing.T) {
	for _, s := range []clientgo.ExtraStore{nil, (*cache.DeltaFIFO)(nil)} {
		_, err := clientgo.NewNamedReflector[informertest.Object]("pods", &informertest.ScriptedServer{}, s)
		if err == nil || !strings.Contains(err.Error(), "reflector of pods: Config.Sink: StoreSink was given no store") {
			t.Errorf("%v", err)
		}
		for _, script := range []string{"begin, commit 1", "+a@1", "-a@1"} {
			if err := drive(clientgo.StoreSink[informertest.Object](s), script); err == nil {
				t.Errorf("%s: no error", script)
			}
		}
	}
	if _, _, err := clientgo.NewNamespaceKeyedIndexerAndReflector[informertest.Object](nil); err == nil {
		t.Error("no error without a ListerWatcher")
	}
}

// TestStoreSinkOfStores: stores of client-go have the state of the sink.
func TestStoreSinkOfStores(t *testing.T) {
	for name, st := range map[string]cache.Store{
		"store":   cache.NewStore(cache.MetaNamespaceKeyFunc),
		"indexer": cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{}),
	} {
		sink := clientgo.StoreSink[informertest.Object](st)
		for _, step := range []struct{ script, want string }{
			{"begin, +a@1, +b@2", ""},
			{"commit 10", "a@1 b@2"},
			{"+a@11, +c@12", "a@11 b@2 c@12"},
			{"-b@13", "a@11 c@12"},
			{"begin, +d@14, -a@15, abort", "a@11 c@12"},
			{"begin, +d@14, +c@12, commit 20", "c@12 d@14"},
			{"progress 30", "c@12 d@14"},
		} {
			if err := drive(sink, step.script); err != nil {
				t.Errorf("%s: %s: %v", name, step.script, err)
			}
			if got := contentOf(st); got != step.want {
				t.Errorf("%s: after %s: %s, want %s", name, step.script, got, step.want)
			}
		}
		if v := st.LastStoreSyncResourceVersion(); v != "30" {
			t.Errorf("%s is at version %q", name, v)
		}
	}
}

// TestStoreSinkOfQueues: queues of client-go find deletions, and bring what they
// bring with client-go's reflector.
func TestStoreSinkOfQueues(t *testing.T) {
	known := func() cache.KeyListerGetter {
		st := cache.NewStore(cache.MetaNamespaceKeyFunc)
		_ = st.Add(informertest.ParseObject("gone@1"))
		return st
	}
	const script = "begin, +a@1, +b@2, commit 10, +a@11, +c@12, -b@13, progress 14, begin, +x@1, abort, begin, +a@11, commit 20"
	for _, test := range []struct {
		name  string
		queue cache.Queue
		want  []string
	}{
		{"DeltaFIFO", cache.NewDeltaFIFOWithOptions(cache.DeltaFIFOOptions{KnownObjects: known(), EmitDeltaTypeReplaced: true}), []string{
			"Replaced a@1, Updated a@11, Replaced a@11",
			"Replaced b@2, Deleted b@13",
			"Deleted unknown(gone, gone@1)",
			"Updated c@12, Deleted unknown(c, c@12)",
		}},
		{"RealFIFO", cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{KnownObjects: known()}), []string{
			"Deleted unknown(gone, gone@1)", "Replaced a@1", "Replaced b@2", "Updated a@11", "Updated c@12", "Deleted b@13",
			"Deleted unknown(c, c@12)", "Replaced a@11",
		}},
		{"RealFIFO, atomic", cache.NewRealFIFOWithOptions(cache.RealFIFOOptions{AtomicEvents: true, UnlockWhileProcessing: true, EmitDeltaTypeBookmark: true}), []string{
			"ReplacedAll 10 a@1 b@2", "Updated a@11", "Updated c@12", "Deleted b@13", "Bookmark 14", "ReplacedAll 20 a@11",
		}},
	} {
		if err := drive(clientgo.StoreSink[informertest.Object](test.queue), script); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		test.queue.Close()
		var got []string
		for {
			item, err := test.queue.Pop(func(any, bool) error { return nil })
			if err != nil {
				break
			}
			got = append(got, text(item))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
		if !test.queue.HasSynced() {
			t.Errorf("%s is not synced", test.name)
		}
	}
}
