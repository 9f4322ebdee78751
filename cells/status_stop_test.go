// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/status"
)

// Whoever stops an engine and has no time to wait for it ends its requests all the
// same, those for watches and those for readers.
func TestStatusStopWithoutTime(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"))
		r.is(w, "one Current")
		reader := r.engine.ClusterReader(r.Context())
		obj := &unstructured.Unstructured{}
		obj.SetGroupVersionKind(podVersion("Pod"))
		key := types.NamespacedName{Namespace: "a", Name: "one"}
		if err := reader.Get(r.Context(), key, obj); err != nil {
			r.Fatal(err)
		}
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		_ = r.engine.Stop(ctx) // an error, unless all was quick
		synctest.Wait()
		if err := w.Err(); !errors.Is(err, status.ErrStopped) {
			r.Errorf("the watch ended with %v", err)
		}
		since := len(r.api.Requests())
		time.Sleep(time.Hour)
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("after Stop it asks %q", asked)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// Of what waits to be received, nothing is handed out after the end of the watch, by
// whatever it ends, and of an object nothing after its removal.
func TestStatusNoEventAfterTheEnd(t *testing.T) {
	one := idOf("Pod", "a", "one")
	for name, c := range map[string]struct {
		end func(r *statusRig, w *status.Watch, cancel func())
		err error
	}{
		"cancel": {func(_ *statusRig, _ *status.Watch, cancel func()) { cancel() }, context.Canceled},
		"Close":  {func(_ *statusRig, w *status.Watch, _ func()) { w.Close() }, nil},
		"Stop": {func(r *statusRig, _ *status.Watch, _ func()) {
			ctx, cancel := context.WithCancel(r.Context())
			cancel()
			_ = r.engine.Stop(ctx) // without time
		}, status.ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			playStatus(t, status.Config{}, func(r *statusRig) {
				ctx := quietContext{r.Context(), make(chan struct{})}
				w, err := r.engine.Watch(ctx, one)
				if err != nil {
					r.Fatal(err)
				}
				r.is(w, "one Current") // the event waits
				c.end(r, w, func() { close(ctx.done) })
				if got := r.next(w); got != "end" {
					r.Errorf("got %q after the end", got)
				}
				if err := w.Err(); !errors.Is(err, c.err) {
					r.Errorf("ended by %v, want %v", err, c.err)
				}
			}, podIn(corev1.PodRunning, "a", "one", 0))
		})
	}
	t.Run("Remove", func(t *testing.T) {
		playStatus(t, status.Config{}, func(r *statusRig) {
			w := r.watch(one)
			r.is(w, "one Current") // the event waits
			if err := w.Remove(one); err != nil {
				r.Fatal(err)
			}
			r.events(w, "synced")
		}, podIn(corev1.PodRunning, "a", "one", 0))
	})
}

// quietContext calls no function when it ends. Only Err and Done show the end.
type quietContext struct {
	context.Context
	done chan struct{}
}

func (c quietContext) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }
func (c quietContext) Done() <-chan struct{}               { return c.done }

func (c quietContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}
