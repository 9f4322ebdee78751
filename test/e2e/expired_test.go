// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// mapLW lists and watches the config maps of a namespace. Before each request it
// calls a function, and it can end the open watch.
type mapLW struct {
	kube   kubernetes.Interface
	ns     string
	before func(verb string, opts metav1.ListOptions)

	mu    sync.Mutex
	watch watch.Interface
	lists []metav1.ListOptions
}

func (lw *mapLW) List(opts metav1.ListOptions) (runtime.Object, error) {
	return lw.ListWithContext(context.Background(), opts)
}

func (lw *mapLW) Watch(opts metav1.ListOptions) (watch.Interface, error) {
	return lw.WatchWithContext(context.Background(), opts)
}

func (lw *mapLW) ListWithContext(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	lw.mu.Lock()
	lw.lists = append(lw.lists, opts)
	lw.mu.Unlock()
	lw.before("list", opts)
	return lw.kube.CoreV1().ConfigMaps(lw.ns).List(ctx, opts)
}

func (lw *mapLW) WatchWithContext(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	lw.before("watch", opts)
	w, err := lw.kube.CoreV1().ConfigMaps(lw.ns).Watch(ctx, opts)
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.watch = w
	return w, err
}

func (lw *mapLW) endWatch() {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	lw.watch.Stop()
}

// Versions that expire, by the compaction of etcd: between two pages of a list,
// and while a watch is down. Nothing is deleted that is still there, what has gone
// is, and no list is without a limit.
func TestExpiredVersions(t *testing.T) {
	cluster := cacheless.get(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	maps := server.kube.CoreV1().ConfigMaps(ns)
	create := func(name string) {
		t.Helper()
		_, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	for i := range 9 {
		create(fmt.Sprintf("m%d", i))
	}
	expire := func() {
		t.Helper()
		create(fmt.Sprintf("x%d", time.Now().UnixNano()))
		create(fmt.Sprintf("y%d", time.Now().UnixNano()))
		_, err := cluster.Compact(t.Context())
		must(t, err)
	}

	var seen occurrences
	var inPass, offline sync.Once
	gone := make(chan struct{})
	lw := &mapLW{kube: server.kube, ns: ns}
	lw.before = func(verb string, opts metav1.ListOptions) {
		switch {
		case verb == "list" && opts.Continue != "":
			inPass.Do(expire)
		case verb == "watch":
			select {
			case <-gone:
				offline.Do(func() {
					must(t, maps.Delete(t.Context(), "m0", metav1.DeleteOptions{}))
					expire()
				})
			default:
			}
		}
	}
	lc := &cell.DefaultLifecycle{}
	log := slog.New(slog.DiscardHandler)
	r := resource.New[*corev1.ConfigMap](lc, lw, resource.WithObserver(&seen), resource.WithSettings(informer.Settings{
		Lists: informer.ListPaged, PageSize: 4,
		Backoff: informer.Backoff{Initial: 50 * time.Millisecond, Max: time.Second},
	}))
	must(t, lc.Start(log, t.Context()))
	defer func() { must(t, lc.Stop(log, context.Background())) }()
	rec := record(t, r)
	rec.waitSynced(t)
	failed := await(t, &seen, func(o informer.ListFailed) bool { return o.Cause == informer.CauseExpired })
	t.Logf("the first pass: %v", failed.Err)

	await(t, &seen, func(informer.WatchOpened) bool { return true })
	close(gone)
	lw.endWatch()
	relist := await(t, &seen, func(o informer.RelistNeeded) bool { return o.Reason == store.ReasonExpired })
	t.Logf("the watch: %v", relist.Err)
	await(t, &seen, func(o informer.ListDone) bool { return o.Pass.Reason == store.ReasonExpired })
	create("last")
	_, want := truth(t, server, ns)
	rec.waitState(t, want)
	rec.check(t, want)
	deletes := 0
	for _, e := range rec.events {
		if e.kind == resource.Delete {
			deletes++
		}
	}
	if deletes != 1 {
		t.Errorf("%d Deletes, want that of m0", deletes)
	}
	lw.mu.Lock()
	defer lw.mu.Unlock()
	for _, opts := range lw.lists {
		if opts.Limit == 0 {
			t.Errorf("a list without a limit: %+v", opts)
		}
	}
}
