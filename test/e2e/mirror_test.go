// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

type mirrorConfig = mirror.InformerConfig[metav1.Object]

// mirrorRun is an informer that writes to a database.
type mirrorRun struct {
	*mirror.ResourceVersionInformer[metav1.Object]
	seen   occurrences
	cancel context.CancelFunc
	stop   func() // cancels, and waits for the end of Run

	mu       sync.Mutex
	failures []error // that the ErrorHandler was told
}

// start starts an informer that goes on with what the database has. What is not set
// of the configuration is made impatient. It is stopped at the end of the test.
func (d *database) start(t *testing.T, cfg mirrorConfig) *mirrorRun {
	t.Helper()
	m := &mirrorRun{}
	cfg.Handler, cfg.Observer = d, &m.seen
	cfg.Storage = mirror.NewResourceVersionStorage()
	cfg.Transform = func(obj runtime.Object) (metav1.Object, error) { return meta.Accessor(obj) }
	cfg.ErrorHandler = func(_ informer.ReflectorInfo, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.failures = append(m.failures, err)
	}
	cfg.ResumeInterval = 10 * time.Millisecond
	cfg.RateLimiter = workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](10*time.Millisecond, 200*time.Millisecond)
	cfg.Backoff.Initial = cmp.Or(cfg.Backoff.Initial, 50*time.Millisecond)
	cfg.Backoff.Max = cmp.Or(cfg.Backoff.Max, time.Second)
	cfg.Workers = cmp.Or(cfg.Workers, 4)
	cfg.MaxPending = cmp.Or(cfg.MaxPending, 1000)

	d.mu.Lock()
	defer d.mu.Unlock()
	for _, row := range d.rows {
		must(t, cfg.Storage.Set(row, 0))
	}
	cfg.ResumeVersion = d.resume
	var err error
	m.ResourceVersionInformer, err = mirror.NewResourceVersionInformer(t.Name(), cfg)
	must(t, err)
	d.informer = m.ResourceVersionInformer
	// A change may be let in for each key that is being delivered.
	d.record = append(d.record, entry{rows: maps.Clone(d.rows), resume: d.resume, limit: cfg.MaxPending + cfg.Workers})

	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = m.Run(ctx)
	}()
	m.stop = func() {
		m.cancel()
		<-ended
	}
	t.Cleanup(m.stop)
	return m
}

// errors returns what the ErrorHandler was told.
func (m *mirrorRun) errors() []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.failures)
}

// waitSynced waits for Synced.
func (m *mirrorRun) waitSynced(t *testing.T) {
	t.Helper()
	select {
	case <-m.Synced():
	case <-time.After(patience):
		t.Fatalf("not synced: %+v", m.Stats())
	}
}

// until waits until ok is true. State is for the error if it never is.
func until(t *testing.T, what string, ok func() bool, state func() any) {
	t.Helper()
	within(t, patience, what, ok, state)
}

// within is until, with a limit of its own.
func within(t *testing.T, limit time.Duration, what string, ok func() bool, state func() any) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s: %+v", what, state())
		}
	}
}

// settle waits until the database has what the server has and all is acknowledged.
// It then checks that the informer says the same, that the resume version has been
// saved, and the rules over the whole record.
func (d *database) settle(t *testing.T, m *mirrorRun, want map[store.Key]store.Meta) {
	t.Helper()
	within(t, patience+d.dawdles, "the database has what the server has", func() bool {
		return m.Stats().Pending == 0 && maps.Equal(d.table(), want)
	}, func() any { return fmt.Sprintf("%s\n%+v", difference(d.table(), want), m.Stats()) })
	m.waitSynced(t)
	until(t, "the resume version is saved", func() bool {
		v := m.ResumeVersion()
		return v != "" && v == d.saved()
	}, func() any { return m.Stats() })
	_, versions := m.Snapshot()
	recorded := map[store.Key]store.Meta{}
	for row, err := range versions {
		must(t, err)
		recorded[row.Key] = row
	}
	if !maps.Equal(recorded, want) {
		t.Errorf("recorded as acknowledged: %s", difference(recorded, want))
	}
	if s := m.Stats(); s.Failing != 0 || s.HeldBack != nil || s.PendingBytes != 0 {
		t.Errorf("all is acknowledged, but %+v", s)
	}
	for _, broken := range d.violations(want) {
		t.Error(broken)
	}
}

// difference says how two states differ.
func difference(got, want map[store.Key]store.Meta) string {
	text := ""
	for key, w := range want {
		if g := got[key]; g != w {
			text += fmt.Sprintf("%v: %q (%s), want %q (%s)\n", key, g.Version, g.UID, w.Version, w.UID)
		}
	}
	for key, g := range got {
		if _, ok := want[key]; !ok {
			text += fmt.Sprintf("%v: %q (%s), want none\n", key, g.Version, g.UID)
		}
	}
	return text
}

// expect waits for settle, and checks which calls were acknowledged since.
func (d *database) expect(t *testing.T, m *mirrorRun, since int, want map[store.Key]store.Meta, calls ...string) {
	t.Helper()
	d.settle(t, m, want)
	slices.Sort(calls)
	if got := names(d.calls(since)); !slices.Equal(got, calls) {
		t.Errorf("the handler was told %q, want %q", got, calls)
	}
}

// world is a namespace with config maps.
type world struct {
	clients
	t  *testing.T
	ns string
}

func newWorld(t *testing.T, kubeconfig string, names ...string) world {
	t.Helper()
	server := startApp(t, kubeconfig)
	w := world{clients: server, t: t, ns: server.namespace(t)}
	for _, name := range names {
		w.create(name)
	}
	return w
}

// lw lists and watches it. Before each request it calls before, if that is not nil.
func (w world) lw(before func(verb string, opts metav1.ListOptions)) *mapLW {
	if before == nil {
		before = func(string, metav1.ListOptions) {}
	}
	return &mapLW{kube: w.kube, ns: w.ns, before: before}
}

func (w world) create(name string) store.Meta {
	w.t.Helper()
	cm, err := w.kube.CoreV1().ConfigMaps(w.ns).Create(w.t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(w.t, err)
	return store.MetaOf(cm)
}

func (w world) patch(name string) {
	w.t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, time.Now().UnixNano())
	_, err := w.kube.CoreV1().ConfigMaps(w.ns).Patch(w.t.Context(), name, "application/merge-patch+json", patch, metav1.PatchOptions{})
	must(w.t, err)
}

func (w world) delete(name string) {
	w.t.Helper()
	must(w.t, w.kube.CoreV1().ConfigMaps(w.ns).Delete(w.t.Context(), name, metav1.DeleteOptions{}))
}

// key is that of a config map.
func (w world) key(name string) store.Key { return store.Key{Namespace: w.ns, Name: name} }

// truth is what the server has.
func (w world) truth() map[store.Key]store.Meta {
	w.t.Helper()
	_, is := truth(w.t, w.clients, w.ns)
	return is
}

// requests returns the lists that were asked for, and checks that each has a limit.
func (lw *mapLW) requests(t *testing.T) []metav1.ListOptions {
	t.Helper()
	lw.mu.Lock()
	defer lw.mu.Unlock()
	for _, opts := range lw.lists {
		if opts.Limit == 0 {
			t.Errorf("a list without a limit: %+v", opts)
		}
	}
	return slices.Clone(lw.lists)
}
