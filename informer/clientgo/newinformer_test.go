// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package clientgo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer/clientgo"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/internal/logtest"
)

// notingHandler notes its calls.
type notingHandler struct {
	log  []string
	each func() // called after each
}

func (h *notingHandler) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
	if h.each != nil {
		h.each()
	}
}

func (h *notingHandler) OnAdd(obj any, initial bool) {
	h.note("add %s %v", text(obj), initial)
}
func (h *notingHandler) OnUpdate(old, obj any) { h.note("update %s %s", text(old), text(obj)) }
func (h *notingHandler) OnDelete(obj any)      { h.note("delete %s", text(obj)) }

// informed runs an informer over st and a server of the replies for d of virtual
// time, and returns the calls of its handler.
func informed(t *testing.T, st cache.Store, resync, d time.Duration, replies ...informertest.Reply) (log []string) {
	synctest.Test(t, func(t *testing.T) {
		h := &notingHandler{}
		c, err := clientgo.NewInformer[informertest.Object](informertest.Scripted(t, replies...), st, resync, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), d, errTestOver)
		defer cancel()
		if err := c.Run(ctx); err != errTestOver {
			t.Errorf("Run returned %v", err)
		}
		if !c.HasSynced() {
			t.Error("not synced")
		}
		log = h.log
	})
	return log
}

func expectLog(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// TestNewInformer: the handler gets additions, of changes with the old
// object, of deletions, and of what a further list finds; the store has it all. The
// store may know of tombstones, or not.
func TestNewInformer(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	for _, key := range []cache.KeyFunc{cache.MetaNamespaceKeyFunc, cache.DeletionHandlingMetaNamespaceKeyFunc} {
		st := cache.NewStore(key)
		got := informed(t, st, 0, time.Minute,
			informertest.Listed("rv=5 a@1 b@2"),
			informertest.Watched("after 1s", "~a@6", "-b@7", "+c@8", "after 10s", "error 410"),
			informertest.Listed("rv=20 a@6 d@9"),
			informertest.Watched("after 1s", "~d@21"),
		)
		expectLog(t, got, "add a@1 true", "add b@2 true", "update a@1 a@6", "delete b@7", "add c@8 false",
			"update a@6 a@6", "add d@9 false", "delete unknown(c, c@8)", "update d@9 d@21")
		if content := contentOf(st); content != "a@6 d@21" {
			t.Errorf("the store has %s", content)
		}
	}
}

// TestNewInformerGoesOn: a store may have objects already.
func TestNewInformerGoesOn(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	st := cache.NewStore(cache.MetaNamespaceKeyFunc)
	_, _ = st.Add(informertest.ParseObject("a@1")), st.Add(informertest.ParseObject("b@2"))
	got := informed(t, st, 0, time.Minute, informertest.Listed("rv=5 a@3"))
	expectLog(t, got, "update a@1 a@3", "delete unknown(b, b@2)")
	got = informed(t, st, 0, time.Minute, informertest.Listed("rv=5"))
	expectLog(t, got, "delete unknown(a, a@3)")
}

// TestNewInformerResyncs: the handler gets all objects again, every period.
func TestNewInformerResyncs(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	got := informed(t, cache.NewStore(cache.MetaNamespaceKeyFunc), 10*time.Second, 25*time.Second, informertest.Listed("rv=5 a@1"))
	expectLog(t, got, "add a@1 true", "update a@1 a@1", "update a@1 a@1")
}

// TestNewInformerReadsStore: the store has the object of the call. The handler
// can read the store.
func TestNewInformerReadsStore(t *testing.T) {
	logtest.SetDefault(t, slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		st := cache.NewStore(cache.MetaNamespaceKeyFunc)
		h := &notingHandler{}
		h.each = func() { h.log = append(h.log, contentOf(st)) }
		c, err := clientgo.NewInformer[informertest.Object](informertest.Scripted(t, informertest.Listed("rv=5 a@1"), informertest.Watched("~a@6", "-a@7")), st, 0, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = c.Run(ctx)
		expectLog(t, h.log, "add a@1 true", "a@1", "update a@1 a@6", "a@6", "delete a@7", "")
	})
}

// refusingStore refuses to take an object, as often as refuse says.
type refusingStore struct {
	cache.Store
	refuse map[string]int
}

func (s refusingStore) do(what string, obj any, f func(any) error) error {
	what += " " + text(obj)
	if s.refuse[what] > 0 {
		s.refuse[what]--
		return errors.New("will not " + what)
	}
	return f(obj)
}

func (s refusingStore) Add(obj any) error    { return s.do("add", obj, s.Store.Add) }
func (s refusingStore) Update(obj any) error { return s.do("update", obj, s.Store.Update) }
func (s refusingStore) Delete(obj any) error { return s.do("delete", obj, s.Store.Delete) }
func (s refusingStore) Get(obj any) (item any, ok bool, err error) {
	err = s.do("get", obj, func(any) error {
		item, ok, err = s.Store.Get(obj)
		return err
	})
	return item, ok, err
}

// TestNewInformerLogsErrors: an error of the store is logged, and the handler is not
// called for the change. Later changes are handled. The next list repairs the store.
func TestNewInformerLogsErrors(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	st := refusingStore{cache.NewStore(cache.MetaNamespaceKeyFunc), map[string]int{
		"get x@0": 1, "add b@2": 1, "update a@7": 1, "delete a@8": 1,
	}}
	got := informed(t, st, 0, time.Minute,
		informertest.Listed("rv=5 a@1 b@2 x@0"),
		informertest.Watched("~a@6", "after 1s", "~a@7", "after 1s", "-a@8", "after 1s", "error 410"),
		informertest.Listed("rv=20 b@2"),
	)
	expectLog(t, got, "add a@1 true", "update a@1 a@6", "add b@2 false", "delete unknown(a, a@6)")
	for _, want := range []string{"will not get x@0", "will not add b@2", "will not update a@7", "will not delete a@8"} {
		if n := strings.Count(out.String(), want); n != 1 {
			t.Errorf("%q is logged %d times:\n%s", want, n, out.String())
		}
	}
}

// TestNewInformerTransforms: neither the store nor the handler ever sees an object
// that was not transformed, and one that cannot be is an error that is logged.
func TestNewInformerTransforms(t *testing.T) {
	var out bytes.Buffer
	logtest.SetDefault(t, slog.NewTextHandler(&out, nil))
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		transform := func(obj runtime.Object) (*corev1.Pod, error) {
			raw := obj.(informertest.Object)
			if calls++; calls == 2 {
				return nil, errors.New("will not be transformed")
			}
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: raw.Name, ResourceVersion: raw.ResourceVersion}}, nil
		}
		var log []string
		note := func(what string, objs ...any) {
			for _, obj := range objs {
				if unknown, ok := obj.(cache.DeletedFinalStateUnknown); ok {
					obj = unknown.Obj
				}
				what += " " + obj.(*corev1.Pod).ResourceVersion
			}
			log = append(log, what)
		}
		st := cache.NewStore(cache.MetaNamespaceKeyFunc)
		server := informertest.Scripted(t, informertest.Listed("rv=5 a@1 b@2"), informertest.Listed("rv=5 a@1 b@2"),
			informertest.Watched("after 1s", "~a@6", "-b@7", "after 1s", "error 410"), informertest.Listed("rv=20"))
		c, err := clientgo.NewInformer(server, st, 0, cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { note("add", obj) },
			UpdateFunc: func(old, obj any) { note("update", old, obj) },
			DeleteFunc: func(obj any) { note("delete", obj) },
		}, transform)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_ = c.Run(ctx)
		expectLog(t, log, "add 1", "add 2", "update 1 6", "delete 7", "delete 6")
		if calls != 6 {
			t.Errorf("%d calls of the transform", calls)
		}
	})
	if n := strings.Count(out.String(), "will not be transformed"); n != 1 {
		t.Errorf("the error of the transform is logged %d times:\n%s", n, out.String())
	}
}

// TestNewInformerIsChecked: what is missing is an error.
func TestNewInformerIsChecked(t *testing.T) {
	st, h := cache.NewStore(cache.MetaNamespaceKeyFunc), cache.ResourceEventHandlerFuncs{}
	for want, make := range map[string]func() (*clientgo.Controller[informertest.Object], error){
		"no ListerWatcher": func() (*clientgo.Controller[informertest.Object], error) {
			return clientgo.NewInformer[informertest.Object](nil, st, 0, h, nil)
		},
		"store is nil": func() (*clientgo.Controller[informertest.Object], error) {
			return clientgo.NewInformer[informertest.Object](informertest.Scripted(t), nil, 0, h, nil)
		},
		"handler is nil": func() (*clientgo.Controller[informertest.Object], error) {
			return clientgo.NewInformer[informertest.Object](informertest.Scripted(t), st, 0, nil, nil)
		},
		"Period is -1s": func() (*clientgo.Controller[informertest.Object], error) {
			return clientgo.NewInformer[informertest.Object](informertest.Scripted(t), st, -time.Second, h, nil)
		},
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "PartialObjectMetadata") {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
}
