// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
)

func TestObserve(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		completed := make(chan error, 1)
		r.view.Observe(ctx, func(e Event[*corev1.Pod]) {
			got = append(got, text(e))
			e.Done(nil)
		}, func(err error) { completed <- err })
		r.sync("a")
		synctest.Wait()
		r.delete("a")
		synctest.Wait()
		if want := "upsert a@1 sync delete a@1"; strings.Join(got, " ") != want {
			t.Fatalf("got %v", got)
		}
		cancel()
		if err := <-completed; !errors.Is(err, context.Canceled) {
			t.Fatalf("completed with %v", err)
		}
	})
}

// Observe returns at once: complete is called from another goroutine, also where
// there is nothing to come.
func TestObserveOfWhatHasEnded(t *testing.T) {
	stopped := newRig(t)
	stopped.start()
	stopped.stop()
	bad := NewFromSource[*corev1.Pod](&cell.DefaultLifecycle{}, nil)
	for name, r := range map[string]Resource[*corev1.Pod]{
		"stopped": stopped.view, "disabled": Disabled[*corev1.Pod](errTest), "misconstructed": bad,
	} {
		unlock, completed := make(chan struct{}), make(chan struct{})
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			r.Observe(t.Context(), func(podEvent) {}, func(error) { <-unlock; close(completed) })
		}()
		select {
		case <-returned:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: Observe waits for complete", name)
		}
		close(unlock)
		<-completed
		<-returned
	}
}

func TestObserveWithoutFunctions(t *testing.T) {
	r := newRig(t)
	r.start()
	r.view.Observe(t.Context(), nil, nil)
	r.sync("a")
	for r.view.Stats().Events.OK < 2 {
		runtime.Gosched()
	}
	r.stop()
}
