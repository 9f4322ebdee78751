// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// crashing is a Pod that is Failed.
func crashing(namespace, name string, owner int) *corev1.Pod {
	p := podIn(corev1.PodRunning, namespace, name, owner)
	p.Status.Conditions = nil
	p.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
	return p
}

// breaks has requests for a resource fail, and no watch of it stay open.
func (r *statusRig) breaks(resource string) {
	r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
		if req.Resource.Resource == resource {
			return errors.New("no route")
		}
		return nil
	})
	r.api.Disconnect()
}

// Who loses a child is looked at again, be it that it goes to another owner or to none.
func TestStatusChildReleased(t *testing.T) {
	for _, to := range []int{0, 2} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			playStatus(t, status.Config{}, func(r *statusRig) {
				w := r.watch(idOf("apps/ReplicaSet", "a", "one"), idOf("apps/ReplicaSet", "a", "two"))
				r.is(w, "one Failed", "two InProgress")
				r.update(crashing("a", "p", to))
				if to == 0 {
					r.is(w, "one InProgress", "two InProgress")
					r.update(crashing("a", "p", 1))
					r.is(w, "one Failed", "two InProgress")
				} else {
					r.is(w, "one InProgress", "two Failed")
				}
				r.remove(crashing("a", "p", to))
				r.is(w, "one InProgress", "two InProgress")
			}, replicaSet("a", "one", 1, 0, 0), replicaSet("a", "two", 1, 0, 0), crashing("a", "p", 1))
		})
	}
}

// Children that were read before their watch was lost are told as such, and a status
// that depends on them is stale.
func TestStatusStaleChildren(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("apps/ReplicaSet", "a", "bad"), idOf("apps/ReplicaSet", "a", "good"))
		r.is(w, "bad Failed", "good Current")
		r.breaks("pods")
		time.Sleep(time.Minute)
		r.remove(crashing("a", "p", 1))
		r.is(w, "bad Failed/Transient", "good Current")
		bad, good := w.Statuses()[0], w.Statuses()[1]
		if bad.Stale.IsZero() || bad.Err == nil || bad.ChildrenErr == nil || !strings.Contains(bad.ChildrenErr.Error(), "no route") {
			r.Errorf("depends on what was, and does not say so: %+v", bad)
		}
		if !good.Stale.IsZero() || good.ChildrenErr == nil {
			r.Errorf("is what the object tells, but for the children: %+v", good)
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		ids := []status.ID{idOf("apps/ReplicaSet", "a", "bad")}
		var failed *status.FailedError
		if _, err := r.engine.Wait(ctx, ids, status.OrFailed(status.All(status.Current))); errors.As(err, &failed) {
			r.Errorf("a stale failure ended the wait: %v", err)
		}
		r.api.Intercept(nil)
		time.Sleep(time.Minute)
		r.is(w, "bad InProgress", "good Current")
		if s := w.Statuses()[0]; s.ChildrenErr != nil || !s.Stale.IsZero() {
			r.Errorf("still stale: %+v", s)
		}
	}, replicaSet("a", "bad", 1, 0, 0), crashing("a", "p", 1), replicaSet("a", "good", 1, 1, 0))
}

// A rule of one's own may depend on children of children; all lost, the object is stale
// since the first.
func TestStatusStaleGrandchildren(t *testing.T) {
	rules := &status.Rules{ByKind: map[schema.GroupKind]status.Rule{
		{Group: "apps", Kind: "Deployment"}: func(_ *unstructured.Unstructured, children []status.ObjectStatus, _ time.Time) (status.Result, error) {
			return status.Result{Status: children[0].Status}, nil
		}}}
	playStatus(t, status.Config{Rules: rules}, func(r *statusRig) {
		w := r.watch(idOf("apps/Deployment", "a", "web"))
		r.is(w, "web Failed")
		r.breaks("pods")
		time.Sleep(time.Minute)
		r.is(w, "web Failed/Transient")
		first := w.Statuses()[0]
		if first.Stale.IsZero() || first.ChildrenErr != nil || first.Children[0].ChildrenErr == nil {
			r.Errorf("got %+v", first)
		}
		r.api.Intercept(func(context.Context, fakeapi.Request) error { return errors.New("no route") })
		r.api.Disconnect()
		time.Sleep(time.Minute)
		synctest.Wait()
		if s := w.Statuses()[0]; !s.Stale.Equal(first.Stale) {
			r.Errorf("stale since %v, and later since %v", first.Stale, s.Stale)
		}
		r.api.Intercept(nil)
		time.Sleep(time.Minute)
		r.is(w, "web Failed")
	}, deployment("a", "web", 1, 0), replicaSet("a", "web-1", 1, 0, 1), crashing("a", "p", 2))
}

// A needless namespace does not limit where the children are.
func TestStatusChildrenOfClusterScoped(t *testing.T) {
	rules := &status.Rules{Owns: map[schema.GroupKind][]schema.GroupKind{{Kind: "Node"}: {{Kind: "Pod"}}}}
	playStatus(t, status.Config{Rules: rules}, func(r *statusRig) {
		for _, id := range []status.ID{idOf("Node", "", "n"), idOf("Node", "a", "n")} {
			w := r.watch(id)
			synctest.Wait()
			if s := w.Statuses()[0]; len(s.Children) != 1 || s.ChildrenErr != nil {
				r.Errorf("%v: children %v, error %v", id, s.Children, s.ChildrenErr)
			}
			w.Close()
		}
	}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, podIn(corev1.PodRunning, "b", "p", 1))
}
