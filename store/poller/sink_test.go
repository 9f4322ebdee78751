// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package poller_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/internal/storetest"
	"github.com/apiary-go/apiary/store/poller"
)

// tracingSink records its calls, and lets some of them fail.
type tracingSink[T any] struct {
	store.SinkDefaults

	mu    sync.Mutex
	calls []string
	fail  map[string]error // by call
	held  []store.Meta
}

func (s *tracingSink[T]) call(name string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, strings.TrimSpace(name+" "+fmt.Sprint(args...)))
	return s.fail[name]
}

// failing makes calls of that name fail with err.
func (s *tracingSink[T]) failing(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = map[string]error{name: err}
}

func (s *tracingSink[T]) Begin(_ context.Context, p store.Pass) error {
	return s.call("begin", p.Epoch, " ", p.Reason, " ", p.Cause)
}

func (s *tracingSink[T]) Has(m store.Meta) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.held, m)
}

func (s *tracingSink[T]) Apply(_ context.Context, m store.Meta, _ T) error { return s.call("apply", m) }

func (s *tracingSink[T]) Page(_ context.Context, p store.PageInfo) error { return s.call("page", p) }

func (s *tracingSink[T]) Delete(_ context.Context, m store.Meta, _ T, _ bool) error {
	return s.call("delete", m)
}

func (s *tracingSink[T]) Commit(_ context.Context, version string) error {
	return s.call("commit", version)
}

func (s *tracingSink[T]) Abort(p store.Pass, cause error) {
	_ = s.call("abort", p.Epoch, " ", cause != nil)
}

func (s *tracingSink[T]) want(t *testing.T, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.calls, want) {
		t.Errorf("calls:\ngot  %q\nwant %q", s.calls, want)
	}
	s.calls = nil
}

func TestPollerDrivesSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[*corev1.Pod]{held: []store.Meta{store.MetaOf(podOf("b", "2"))}}
		p, err := poller.New(poller.Config[*corev1.Pod]{Sink: sink, Get: func(context.Context) (poller.Enumerator[*corev1.Pod], error) {
			return poller.Enumerate("7", []*corev1.Pod{podOf("a", "1"), podOf("b", "2")}), nil
		}})
		storetest.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		_ = p.Run(ctx)
		sink.want(t, "begin 1 poll <nil>", "apply default/a@1", "page {1 2 0}", "commit 7")
	})
}

// TestPollerSinkFails has each call of the sink fail.
func TestPollerSinkFails(t *testing.T) {
	for _, call := range []string{"begin", "apply", "page", "commit"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &tracingSink[storetest.Job]{fail: map[string]error{call: storetest.ErrJob}}
				r := poll(t, &collection{version: "1"}, func(cfg *poller.Config[storetest.Job]) {
					cfg.Sink = sink
					cfg.Get = func(context.Context) (poller.Enumerator[storetest.Job], error) {
						return poller.Enumerate("1", []storetest.Job{storetest.NewJob("a", 1)}), nil
					}
				})
				if calls := sink.calls; calls[len(calls)-1] != "abort 1 true" {
					t.Errorf("calls %q", calls)
				}
				info := r.Info()
				if !errors.Is(info.Err, storetest.ErrJob) || !strings.Contains(info.Err.Error(), "sink: "+call) || info.Failures != 1 || info.Version != "" {
					t.Errorf("info %+v", info)
				}
				sink.failing("", nil)
				r.after(time.Second)
				if info := r.Info(); info.Version != "1" || info.Passes != 1 || info.Err != nil {
					t.Errorf("after a backoff: info %+v", info)
				}
			})
		})
	}
}

func TestPollerFullSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drained := make(chan struct{})
		sink := &tracingSink[storetest.Job]{fail: map[string]error{"commit": &store.FullError{Drained: drained}}}
		r := poll(t, &collection{version: "1", jobs: nil}, func(cfg *poller.Config[storetest.Job]) { cfg.Sink = sink })
		r.after(time.Hour)
		r.wantPolls(0)
		close(drained)
		synctest.Wait() // full again: no hot loop
		r.after(500 * time.Millisecond)
		r.wantPolls(0, 3600)
		sink.failing("", nil)
		r.after(500 * time.Millisecond)
		r.wantPolls(0, 3600, 3601)
		r.after(10 * time.Second)
		if info := r.Info(); info.Refused != 2 || info.Passes != 1 || info.Unchanged != 1 || info.Failures != 0 || len(r.errs) != 0 {
			t.Errorf("info %+v, errors %v", info, r.errs)
		}
		sink.failing("begin", &store.FullError{})
		r.version = "2"
		r.after(10 * time.Second)
		if info := r.Info(); info.Failures == 0 {
			t.Errorf("a FullError without Drained is no failure: %+v", info)
		}
	})
}

func TestPollerStopsWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[storetest.Job]{fail: map[string]error{"begin": &store.FullError{Drained: make(chan struct{})}}}
		r := poll(t, &collection{}, func(cfg *poller.Config[storetest.Job]) { cfg.Sink = sink })
		r.stop(errStop)
		if err := <-r.ended; err != errStop {
			t.Error(err)
		}
	})
}

func TestPollerResync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[storetest.Job]{}
		r := poll(t, &collection{version: "1"}, func(cfg *poller.Config[storetest.Job]) { cfg.Sink = sink })
		sink.want(t, "begin 1 poll <nil>", "page {1 0 0}", "commit 1")
		r.version = "2"
		sink.failing("commit", fmt.Errorf("lost count: %w", store.ErrResync))
		r.after(10 * time.Second)
		again := "begin 3 poll sink: commit: lost count: " + store.ErrResync.Error()
		sink.want(t, "begin 2 poll <nil>", "page {1 0 0}", "commit 2", "abort 2 true",
			again, "page {1 0 0}", "commit 2", "abort 3 true")
		r.version = "1" // which the sink may no longer be at
		sink.failing("", nil)
		r.after(time.Second)
		sink.want(t, strings.Replace(again, "3", "4", 1), "page {1 0 0}", "commit 1")
		if info := r.Info(); info.Refused != 2 || info.Failures != 0 || info.Passes != 2 {
			t.Errorf("info %+v", info)
		}
		r.version = "3"
		sink.failing("begin", store.ErrResync) // once more, after a success: one poll at once
		r.after(10 * time.Second)
		sink.want(t, "begin 5 poll <nil>", "abort 5 true", "begin 6 poll sink: begin: "+store.ErrResync.Error(), "abort 6 true")
	})
}

// TestPollerWithoutObjects has a Get that says that nothing has changed, when there
// was nothing before.
func TestPollerWithoutObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[storetest.Job]{}
		state := poller.Enumerator[storetest.Job]{}
		r := poll(t, &collection{}, func(cfg *poller.Config[storetest.Job]) {
			cfg.Sink = sink
			cfg.Get = func(context.Context) (poller.Enumerator[storetest.Job], error) { return state, nil }
		})
		sink.want(t)
		if err := r.Info().Err; err == nil || !strings.Contains(err.Error(), "Objects is nil") {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestPollerContent has objects without a version, one of which has no content.
func TestPollerContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &tracingSink[func()]{}
		p, err := poller.New(poller.Config[func()]{
			Sink: sink,
			Key:  func(func()) (store.Key, error) { return store.Key{Name: "a"}, nil },
			Get: func(context.Context) (poller.Enumerator[func()], error) {
				return poller.Enumerate("", []func(){func() {}}), nil
			},
		})
		storetest.Must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_ = p.Run(ctx)
		sink.want(t, "begin 1 poll <nil>", "abort 1 true")
	})
}

func podOf(name, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: "u", ResourceVersion: version}}
}
