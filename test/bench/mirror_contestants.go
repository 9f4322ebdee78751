// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
)

// nameStripped is client-go with a store that saves memory: it drops everything except
// the key and the version of an object when it is decoded.
const nameStripped = "client-go stripped"

// mirrorNames are the names of the contestants.
var mirrorNames = []string{nameOurs, nameClientGo, nameStripped}

// ourMirror is a ResourceVersionInformer whose handler does nothing, in the default
// configuration.
type ourMirror struct {
	task     mirrorTask
	storage  mirror.ResourceVersionStorage
	informer *mirror.ResourceVersionInformer[*corev1.Pod]
	fail     context.CancelCauseFunc // ends run

	full, open chan struct{} // closed by held and release
}

func newOurMirror(lw cache.ListerWatcher, t mirrorTask) (mirrorRun, error) {
	m := &ourMirror{
		task: t, storage: mirror.NewResourceVersionStorage(),
		full: make(chan struct{}), open: make(chan struct{}),
	}
	config := mirror.InformerConfig[*corev1.Pod]{
		ListerWatcher: lw,
		Handler:       mirror.ResourceEventHandlerFuncs[*corev1.Pod]{},
		Storage:       m.storage,
		ErrorHandler:  func(_ informer.ReflectorInfo, err error) { m.fail(err) },
	}
	if t.hold {
		m.hold(&config)
	}
	if t.restart {
		for i := range t.objects {
			if err := m.storage.Set(metaOf(i, t.objects), 0); err != nil {
				return nil, err
			}
		}
	}
	var err error
	m.informer, err = mirror.NewResourceVersionInformer("bench", config)
	return m, err
}

// hold stops the handler when twice the maximum of pending objects remain. It is held
// when the maximum is pending and the reader has one more object: the informer asks for
// the size of each object before it accepts it.
func (m *ourMirror) hold(config *mirror.InformerConfig[*corev1.Pod]) {
	var (
		calls, sizes atomic.Int64
		pending      = min(1000, (m.task.objects+3)/4) // 1000 is the default
		handled      = int64(m.task.objects - 2*pending)
	)
	config.MaxPending = pending
	config.SizeOf = func(pod *corev1.Pod) int {
		if sizes.Add(1) == handled+int64(pending)+1 {
			close(m.full)
		}
		return pod.Size()
	}
	config.Handler = mirror.ResourceEventHandlerFuncs[*corev1.Pod]{
		AddFunc: func(ctx context.Context, _ informer.Object[*corev1.Pod]) error {
			if calls.Add(1) <= handled {
				return nil
			}
			return await(ctx, m.open)
		},
	}
}

func (m *ourMirror) held() <-chan struct{} { return m.full }
func (m *ourMirror) release()              { close(m.open) }

func (m *ourMirror) run(ctx context.Context) error {
	ctx, m.fail = context.WithCancelCause(ctx)
	defer m.fail(nil)
	return m.informer.Run(ctx)
}

func (m *ourMirror) synced() <-chan struct{} { return m.informer.Synced() }

func (m *ourMirror) check() error {
	n := m.task.objects
	stats := m.informer.Stats()
	added, unchanged := n, 0
	if m.task.restart {
		added, unchanged = 0, n
	}
	other := stats.Updated + stats.Deleted + stats.Shown + stats.Failures + stats.Swept
	if stats.Added != uint64(added) || stats.Unchanged != uint64(unchanged) || other != 0 {
		return fmt.Errorf("%d added, %d unchanged, and %d other calls; want %d, %d and none", stats.Added, stats.Unchanged, other, added, unchanged)
	}
	for i := range n {
		want := metaOf(i, n)
		got, _, err := m.storage.Get(want.Key)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the recorded version of %s is %s", want, got)
		}
	}
	if got := m.storage.Len(); got != n {
		return fmt.Errorf("%d pods are recorded, want %d", got, n)
	}
	return nil
}

// reflectorMirror is a Reflector of client-go with a store of versions by key.
type reflectorMirror struct {
	task      mirrorTask
	reflector *cache.Reflector
	done      chan struct{}

	mu       sync.Mutex
	versions map[string]string
}

func newReflectorMirror(lw cache.ListerWatcher, t mirrorTask) (mirrorRun, error) {
	m := &reflectorMirror{task: t, done: make(chan struct{}), versions: map[string]string{}}
	var store cache.ReflectorStore = m
	if t.contestant == nameStripped {
		store = strippingStore{m}
	}
	m.reflector = cache.NewReflector(lw, &corev1.Pod{}, store, 0)
	return m, nil
}

func (m *reflectorMirror) run(ctx context.Context) error {
	m.reflector.RunWithContext(ctx)
	return nil
}

func (m *reflectorMirror) synced() <-chan struct{} { return m.done }

func (m *reflectorMirror) check() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.task.objects
	for i := range n {
		want := metaOf(i, n)
		if got := m.versions[want.Key.String()]; got != want.Version {
			return fmt.Errorf("the recorded version of %s is %q", want, got)
		}
	}
	if got := len(m.versions); got != n {
		return fmt.Errorf("%d pods are recorded, want %d", got, n)
	}
	return nil
}

// Add implements cache.ReflectorStore.
func (m *reflectorMirror) Add(obj any) error { return m.Update(obj) }

// Update implements cache.ReflectorStore.
func (m *reflectorMirror) Update(obj any) error {
	key, err := cache.MetaNamespaceKeyFunc(obj)
	if err != nil {
		return err
	}
	o, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[key] = o.GetResourceVersion()
	return nil
}

// Delete implements cache.ReflectorStore.
func (m *reflectorMirror) Delete(obj any) error {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.versions, key)
	return nil
}

// Replace implements cache.ReflectorStore. It is called once, because the watch ends with
// the reflector.
func (m *reflectorMirror) Replace(objs []any, _ string) error {
	m.mu.Lock()
	clear(m.versions)
	m.mu.Unlock()
	for _, obj := range objs {
		if err := m.Add(obj); err != nil {
			return err
		}
	}
	close(m.done)
	return nil
}

// Resync implements cache.ReflectorStore.
func (m *reflectorMirror) Resync() error { return nil }

// strippingStore is a store that reduces objects while the reflector keeps them.
type strippingStore struct{ *reflectorMirror }

// Transformer implements cache.TransformingStore.
func (strippingStore) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		o, err := meta.Accessor(obj)
		if err != nil {
			return nil, err
		}
		return &metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), ResourceVersion: o.GetResourceVersion()}, nil
	}
}
