// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// ChanSink sends the names of what is applied.
type ChanSink[T any] struct {
	store.SinkDefaults
	Applied chan string
	Commits chan string
	Deleted chan string
}

// NewChanSink returns a ChanSink with room for a thousand of each.
func NewChanSink[T any]() *ChanSink[T] {
	return &ChanSink[T]{Applied: make(chan string, 1000), Commits: make(chan string, 1000), Deleted: make(chan string, 1000)}
}

func (s *ChanSink[T]) Begin(context.Context, store.Pass) error { return nil }

func (s *ChanSink[T]) Apply(_ context.Context, m store.Meta, _ T) error {
	s.Applied <- m.Key.String()
	return nil
}

func (s *ChanSink[T]) Delete(_ context.Context, m store.Meta, _ T, _ bool) error {
	s.Deleted <- m.Key.String()
	return nil
}

func (s *ChanSink[T]) Commit(_ context.Context, version string) error {
	s.Commits <- version
	return nil
}

func (s *ChanSink[T]) Abort(store.Pass, error) {}

// Await returns what c brings. It fails the test after a minute.
func Await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(60 * time.Second):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

// CarelessSource goes on with a list, and calls it whole, whatever yield says.
type CarelessSource struct {
	informer.Source[Object]
	Items func() []informer.Item[Object]
}

func (s CarelessSource) WatchList() bool { return false }

func (s CarelessSource) List(_ context.Context, _ metav1.ListOptions, yield func(informer.Item[Object]) error) (informer.Page, error) {
	for _, item := range s.Items() {
		_ = yield(item)
	}
	return informer.Page{Version: "1"}, nil
}
