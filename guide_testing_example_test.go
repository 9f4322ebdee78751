// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/script"
	"github.com/cilium/hive/script/scripttest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/store"
)

func shopPod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"}}}
}

// addresses is the consumer under test: it holds the address of each pod.
type addresses map[store.Key]string

func (a addresses) run(ctx context.Context, pods resource.Resource[*corev1.Pod]) {
	for ev := range pods.Events(ctx) {
		var err error
		switch ev.Kind {
		case resource.Upsert:
			if a[ev.Key] = ev.Object.Status.PodIP; a[ev.Key] == "" {
				err = errors.New("the pod has no address yet")
			}
		case resource.Delete:
			delete(a, ev.Key)
		}
		ev.Done(err)
	}
}

func TestAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, got := resourcetest.New[*corev1.Pod](t), addresses{}
		go got.run(t.Context(), pods.Resource())

		web := pods.Upsert(shopPod("web"))
		pods.Sync()
		synctest.Wait() // web came, failed, and waits for its retry

		web.Status.PodIP = "10.0.0.1"
		pods.Upsert(web)
		synctest.Wait()
		if got[store.KeyOf(web)] != "10.0.0.1" {
			t.Errorf("got %v", got)
		}

		pods.Fail(errors.New("the server is away"))
		pods.Delete(store.KeyOf(web))
		pods.Expire() // the watch cannot be resumed: a list shows that web is gone
		pods.Fail(nil)
		if err := pods.Flush(t.Context()); err != nil { // the resource knows what the server has
			t.Fatal(err)
		}
		synctest.Wait() // the consumer has handled it
		if len(got) > 0 {
			t.Errorf("got %v after the deletion", got)
		}
	})
}

func TestGreeterApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, out := fakeapi.New(), &bytes.Buffer{}
		if err := api.Add(shopPod("web")); err != nil {
			t.Fatal(err)
		}
		app := hive.New(
			cells.FakeClientWith(func() *fakeapi.Server { return api }), // in place of cells.Client
			greeterApp,
		)
		log := slog.New(slog.NewTextHandler(out, nil))
		if err := app.Start(log, t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := app.Stop(log, context.Background()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "msg=Hello") {
			t.Errorf("got %s", out)
		}
	})
}

func TestGreeterScripts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel) // not defer: the scripts run in parallel, after this function
	scripttest.Test(t, ctx, func(t testing.TB, _ []string) *script.Engine {
		app := hive.New(cells.FakeClient, greeterApp, cells.Status, cells.ScriptCommands, cells.ScriptClientCommands)
		log := slog.New(slog.DiscardHandler)
		t.Cleanup(func() { _ = app.Stop(log, context.Background()) })
		cmds, err := app.ScriptCommands(log)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(cmds, script.DefaultCmds())
		return &script.Engine{Cmds: cmds}
	}, nil, "testdata/script/*.txtar")
}

func TestWithClientGosFake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clients := fake.NewClientset(shopPod("web"))
		api := clients.CoreV1().Pods("shop")
		lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return api.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return api.Watch(ctx, o) },
		}, clients)

		lc := &cell.DefaultLifecycle{}
		pods := resource.New[*corev1.Pod](lc, lw)
		log := slog.New(slog.DiscardHandler)
		if err := lc.Start(log, t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lc.Stop(log, context.Background()) }()
		read, err := pods.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the watch is open: the fake forgets a deletion before that

		if err := api.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(read.List()); n > 0 {
			t.Errorf("%d pods are left", n)
		}
	})
}
