// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// newMember returns a member that does not run. If it cannot be made, its requests fail.
func (r *Reflector[T]) newMember(namespace string) *member[T] {
	m := &member[T]{namespace: namespace, ended: make(chan struct{})}
	cfg := informer.Config[T]{
		Name: r.cfg.Name, Namespace: namespace, Settings: r.cfg.Settings, Observer: r.cfg.Observer,
		Log: cmp.Or(r.cfg.Log, slog.Default()).With("namespace", namespace),
	}
	err := r.panics.Try("source of a namespace", store.Key{}, func() (err error) {
		if cfg.Source = r.cfg.Source(namespace); check.IsNil(cfg.Source) {
			return fmt.Errorf("there is no source for namespace %s: Config.Source returned nil", namespace)
		}
		if m.part, err = r.cfg.Store.AddPart(namespace); err != nil {
			return err
		}
		cfg.Sink = sink[T]{Part: m.part, committed: func() { r.committed(m) }}
		m.reflector, err = informer.NewReflector(cfg)
		return err
	})
	if err != nil {
		cfg.Source, cfg.Sink, cfg.CheckMetadata = broken[T]{err: err}, broken[T]{err: err}, false
		m.reflector, _ = informer.NewReflector(cfg) // the settings are those of root
	}
	return m
}

// sink is the part of a namespace.
type sink[T any] struct {
	*store.Part[T]
	committed func()
}

// Commit implements store.Sink.
func (s sink[T]) Commit(ctx context.Context, version string) error {
	if err := s.Part.Commit(ctx, version); err != nil {
		return err
	}
	s.committed()
	return nil
}

// broken is the source and the sink of a namespace that cannot be followed.
type broken[T any] struct {
	store.SinkDefaults
	err error
}

func (b broken[T]) List(context.Context, metav1.ListOptions, func(informer.Item[T]) error) (informer.Page, error) {
	return informer.Page{}, b.err
}
func (b broken[T]) Watch(context.Context, metav1.ListOptions) (informer.Stream[T], error) {
	return nil, b.err
}
func (b broken[T]) WatchList() bool                                   { return false }
func (b broken[T]) Begin(context.Context, store.Pass) error           { return nil }
func (b broken[T]) Apply(context.Context, store.Meta, T) error        { return b.err }
func (b broken[T]) Delete(context.Context, store.Meta, T, bool) error { return b.err }
func (b broken[T]) Commit(context.Context, string) error              { return b.err }
func (b broken[T]) Abort(store.Pass, error)                           {}
