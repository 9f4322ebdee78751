// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
)

var (
	podsGR  = schema.GroupResource{Resource: "pods"}
	podsGVR = podsGR.WithVersion("v1")
	dialing = &url.Error{Op: "Get", URL: "https://127.0.0.1:1", Err: &net.OpError{
		Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	forbidden = apierrors.NewForbidden(podsGR, "", errors.New(`user "jane" cannot list resource "pods" in API group "" at the cluster scope`))
)

// Why there is no store, for each cause that a person can do something about.
func TestStoreSaysWhatKeepsIt(t *testing.T) {
	for _, test := range []struct {
		cause informer.Cause
		lists *shownPods
		text  string
	}{
		{informer.CauseForbidden, &shownPods{listErr: forbidden}, `cannot list resource "pods"`},
		{informer.CauseUnauthorized, &shownPods{listErr: apierrors.NewUnauthorized("who?")}, "who?"},
		{informer.CauseNotInstalled, &shownPods{listErr: &meta.NoResourceMatchError{PartialResource: podsGVR}}, "no matches for /v1, Resource=pods"},
		{informer.CauseRefused, &shownPods{listErr: dialing}, "connection refused"},
		{informer.CauseDecoding, &shownPods{list: &corev1.Node{}}, "Node"},
	} {
		t.Run(string(test.cause), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				lc := &cell.DefaultLifecycle{}
				r := New[*corev1.Pod](lc, test.lists, WithName("pods"))
				if err := lc.Start(quiet(), t.Context()); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := r.Store(ctx)
				var why *NotSyncedError
				if !errors.As(err, &why) || why.Cause != test.cause || !errors.Is(err, context.DeadlineExceeded) ||
					!strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "resource pods") {
					t.Errorf("got %v (%+v)", err, why)
				}
				if err := lc.Stop(quiet(), t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// An object for which a transform fails is left out, and named. If the source is strict, it is
// why there is no store.
func TestStoreNamesWhatCannotBeTransformed(t *testing.T) {
	for _, strict := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			lc := &cell.DefaultLifecycle{}
			opts := []Option{WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) {
				if p.Name == "bad" {
					return nil, errTest
				}
				return p, nil
			})}
			if strict {
				opts = append(opts, WithSourceOptions(source.WithStrictDecoding()))
			}
			r := New[*corev1.Pod](lc, show("9", pod("good", "", 1), pod("bad", "", 2)), opts...)
			if err := lc.Start(quiet(), t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			st, err := r.Store(ctx)
			left := r.(Inspector).Stats().Reflector.LeftOut
			switch {
			case strict && (!errors.Is(err, errTest) || !strings.Contains(err.Error(), "ns/bad") || len(left) > 0):
				t.Errorf("got %v", err)
			case !strict && (err != nil || len(st.List()) != 1 || len(left) != 1 || left[0].Meta.Key.Name != "bad"):
				t.Errorf("got %v, %v", err, left)
			}
			if err := lc.Stop(quiet(), t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Store in the start hook of a consumer: it works, a resource that fails does not
// hold up another, and when the start timeout ends the wait the cause is told.
func TestStoreInStartHook(t *testing.T) {
	type broken Resource[*corev1.Pod]
	provide := func(lw cache.ListerWatcher) func(cell.Lifecycle) Resource[*corev1.Pod] {
		return func(lc cell.Lifecycle) Resource[*corev1.Pod] { return New[*corev1.Pod](lc, lw) }
	}
	bubble(t, func(t *testing.T) {
		var listed int
		waits := func(wait bool) *hive.Hive {
			return hive.New(
				cell.Provide(provide(show("9", pod("a", "", 1))),
					func(lc cell.Lifecycle) broken {
						return provide(&shownPods{listErr: forbidden})(lc)
					}),
				cell.Invoke(func(lc cell.Lifecycle, good Resource[*corev1.Pod], bad broken) {
					bad.Events(t.Context())
					lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
						s, err := good.Store(ctx)
						if err != nil {
							return err
						}
						listed = len(s.List())
						if wait {
							_, err = bad.Store(ctx)
						}
						return err
					}})
				}))
		}
		h := waits(false)
		if err := h.Start(quiet(), t.Context()); err != nil || listed != 1 {
			t.Fatalf("start says %v, %d objects", err, listed)
		}
		if err := h.Stop(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		h = waits(true)
		err := h.Start(quiet(), ctx)
		var why *NotSyncedError
		if !errors.As(err, &why) || why.Cause != informer.CauseForbidden {
			t.Errorf("start says %v", err)
		}
		if err := h.Stop(quiet(), t.Context()); err != nil { // what has started
			t.Fatal(err)
		}
	})
}

func ExampleNotSyncedError() {
	fmt.Println(&NotSyncedError{Resource: "pods", Cause: informer.CauseForbidden, Err: forbidden, Ended: context.DeadlineExceeded})
	// Output:
	// resource pods is not synced: pods is forbidden: user "jane" cannot list resource "pods" in API group "" at the cluster scope (context deadline exceeded)
}
