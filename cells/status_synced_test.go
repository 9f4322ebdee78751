// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// slow has each request for a resource take a second.
func (r *statusRig) slow(resource string) {
	r.api.Intercept(func(ctx context.Context, req fakeapi.Request) error {
		if req.Resource.Resource == resource {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		return nil
	})
}

// watchFor is watch, but the watch ends after a time.
func (r *statusRig) watchFor(most time.Duration, ids ...status.ID) *status.Watch {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), most)
	r.Cleanup(cancel)
	w, err := r.engine.Watch(ctx, ids...)
	if err != nil {
		r.Fatal(err)
	}
	return w
}

// What was told does not become NotObserved while another scope is tried that has not
// answered yet, and the next Synced is not early for it, nor does it stay away.
func TestStatusSyncedAfterDenied(t *testing.T) {
	for _, times := range []int{1, 2} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			playStatus(t, status.Config{Few: -1}, func(r *statusRig) {
				w := r.watchFor(2*time.Hour, idOf("Pod", "a", "one"))
				r.events(w, "one Current", "synced")
				for range times {
					r.forbid(func(req fakeapi.Request) bool {
						return req.Resource.Resource == "pods" && req.Options.FieldSelector == "" && req.Name == ""
					})
					r.api.Disconnect()
					time.Sleep(10 * time.Minute)
					r.is(w, "one Current")
					r.forbid(func(fakeapi.Request) bool { return false })
					time.Sleep(10 * time.Minute)
				}
				r.slow("configmaps")
				if err := w.Add(idOf("ConfigMap", "a", "conf")); err != nil {
					r.Fatal(err)
				}
				r.events(w, "conf Current", "synced")
			}, podIn(corev1.PodRunning, "a", "one", 0), &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
		})
	}
}

// An object that is removed and added again while it is evaluated has no status before
// it is evaluated again.
func TestStatusSyncedAfterRemoveAndAdd(t *testing.T) {
	var leave chan struct{}
	times := 0
	rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{
		{Kind: "ConfigMap"}: func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
			if times++; times == 1 {
				<-leave
			} else {
				time.Sleep(time.Second)
			}
			return status.Result{Status: status.Current}, nil
		}}}
	playStatus(t, status.Config{Rules: rules}, func(r *statusRig) {
		leave = make(chan struct{})
		id := idOf("ConfigMap", "a", "conf")
		w := r.watchFor(time.Hour, id)
		synctest.Wait() // in the rule
		if err := errors.Join(w.Remove(id), w.Add(id)); err != nil {
			r.Error(err)
		}
		close(leave)
		r.is(w, "conf Unknown/NotObserved") // in the rule again
		r.events(w, "conf Current", "synced")
	}, &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}

// A rule that wants to be asked again in the past is asked once a second.
func TestStatusRecheckInThePast(t *testing.T) {
	var times atomic.Int64
	rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{
		{Kind: "ConfigMap"}: func(_ *unstructured.Unstructured, _ []status.ObjectStatus, now time.Time) (status.Result, error) {
			if times.Add(1) > 1000 {
				return status.Result{Status: status.Current}, nil
			}
			return status.Result{Status: status.Current, Recheck: now.Add(-time.Second)}, nil
		}}}
	playStatus(t, status.Config{Rules: rules}, func(r *statusRig) {
		w := r.watch(idOf("ConfigMap", "a", "conf"))
		r.is(w, "conf Current")
		before := times.Load()
		time.Sleep(time.Minute)
		synctest.Wait()
		if more := times.Load() - before; more < 59 || more > 61 {
			r.Errorf("%d evaluations in a minute, after %d", more, before)
		}
	}, &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}
