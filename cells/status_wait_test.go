// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// versionOf is the resource version of what the server has.
func (r *statusRig) versionOf(gvr schema.GroupVersionResource, namespace, name string) string {
	r.Helper()
	obj, err := fakeClients(r.T, r.api).Dynamic.Resource(gvr).Namespace(namespace).Get(r.Context(), name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return obj.GetResourceVersion()
}

// Who waits for what was just written is not told what was there before, though the watch
// is shared and lags behind.
func TestStatusWaitAtLeast(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		id := idOf("apps/ReplicaSet", "a", "web")
		w := r.watch(id)
		r.is(w, "web Current")
		r.api.Intercept(func(ctx context.Context, req fakeapi.Request) error {
			if req.Verb == "watch" {
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
				}
			}
			return nil
		})
		r.api.Disconnect()
		r.update(replicaSet("a", "web", 2, 0, 0))
		version := r.versionOf(statusKinds3[1], "a", "web")
		done := make(chan error, 1)
		go func() {
			until := status.AtLeast(map[status.ID]string{id: version}, status.OrFailed(status.All(status.Current)))
			_, err := r.engine.Wait(r.Context(), []status.ID{id}, until)
			done <- err
		}()
		time.Sleep(time.Minute)
		select {
		case err := <-done:
			r.Fatalf("it ended with what was before: %v", err)
		default:
		}
		r.update(replicaSet("a", "web", 2, 2, 0))
		if err := <-done; err != nil {
			r.Error(err)
		}
	}, replicaSet("a", "web", 1, 1, 0))
}

// An ID that cannot name an object ends a wait at once, unless the condition accepts it.
func TestStatusWaitForAnInvalidID(t *testing.T) {
	for _, few := range []int{0, -1} {
		playStatus(t, status.Config{Few: few}, func(r *statusRig) {
			ids := []status.ID{idOf("Pod", "a", "one"), idOf("Pod", "", "lost")}
			begun := time.Now()
			statuses, err := r.engine.Wait(r.Context(), ids, status.All(status.NotFound))
			var we *status.WaitError
			if !errors.As(err, &we) || !strings.Contains(err.Error(), "Pod lost: the kind is namespaced, and the ID has no namespace") || time.Since(begun) > 0 {
				r.Errorf("after %v: %v", time.Since(begun), err)
			}
			if len(statuses) != 2 || short(statuses[0]) != "lost Unknown/InvalidID" {
				r.Errorf("got %v", statuses)
			}
			w := r.watch()
			if err := w.Add(ids[1]); err != nil {
				r.Fatal(err)
			}
			r.is(w, "lost Unknown/InvalidID")
			accepts := func(statuses []status.ObjectStatus) (bool, error) { return statuses[0].Reason == status.InvalidID, nil }
			if _, err := r.engine.Wait(r.Context(), ids, accepts); err != nil {
				r.Error(err)
			}
		}, podIn(corev1.PodRunning, "a", "one", 0))
	}
}

// A wait that got the reasons ends with an object that is forbidden, and with one that
// the rule cannot read, but not while the server fails.
func TestStatusWaitForUnreadable(t *testing.T) {
	bad := podIn("Nowhere", "a", "bad", 0) // a phase that there is not
	playStatus(t, status.Config{}, func(r *statusRig) {
		until := status.OrFailed(status.All(status.Current), status.Forbidden, status.RuleError)
		ends := func(name, kind, want string) {
			r.Helper()
			_, err := r.engine.Wait(r.Context(), []status.ID{idOf(kind, "a", name)}, until)
			var failed *status.FailedError
			if !errors.As(err, &failed) || len(failed.Failed) != 1 || short(failed.Failed[0]) != want {
				r.Errorf("got %v, want %s", err, want)
			}
		}
		ends("bad", "Pod", "bad Unknown/RuleError")
		r.forbid(func(req fakeapi.Request) bool { return req.Resource.Resource == "configmaps" })
		ends("conf", "ConfigMap", "conf Unknown/Forbidden")
		r.fail(func() error { return apierrors.NewInternalError(errors.New("down")) })
		ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
		defer cancel()
		statuses, err := r.engine.Wait(ctx, []status.ID{idOf("apps/ReplicaSet", "a", "web")}, until)
		if !errors.Is(err, context.DeadlineExceeded) || len(statuses) != 1 || short(statuses[0]) != "web Unknown/Transient" {
			r.Errorf("got %v, %v", statuses, err)
		}
	}, bad, &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)}, replicaSet("a", "web", 1, 1, 0))
}
