// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// However many IDs cannot name an object, each says so; and those of a kind without
// namespaces do not.
func TestStatusManyWithoutNamespace(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		var ids []status.ID
		for i := range 5 {
			ids = append(ids, idOf("Pod", "", fmt.Sprint("p", i)), idOf("Node", "", fmt.Sprint("n", i)))
		}
		w := r.watch(ids...)
		synctest.Wait()
		for _, s := range w.Statuses() {
			switch {
			case s.ID.GroupKind.Kind == "Node":
				if s.Err != nil || (s.Status == status.Current) != (s.ID.Name == "n0") || s.Status == status.Unknown {
					r.Errorf("got %v", s)
				}
			case s.Status != status.Unknown || s.Reason != status.InvalidID || s.Err == nil:
				r.Errorf("got %v", s)
			}
		}
		synced := false
		for ev := range w.Events() {
			if synced = ev.Type == status.Synced; synced {
				break
			}
		}
		if !synced {
			r.Error("no Synced")
		}
	}, podIn(corev1.PodRunning, "a", "p0", 0), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n0"}})
}

// What the server does not select by name is read by name.
func TestStatusNotSelectable(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
			if req.Options.FieldSelector != "" {
				return apierrors.NewBadRequest("field label not supported: metadata.name")
			}
			return nil
		})
		w := r.watchFor(time.Hour, idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		r.update(podIn(corev1.PodPending, "a", "one", 0))
		r.events(w, "one InProgress")
		r.api.Intercept(nil)
		time.Sleep(5 * time.Minute)
		since := len(r.api.Requests())
		time.Sleep(10 * time.Minute)
		for _, text := range r.asked(&since) {
			if text != "watch pods a metadata.name=one" {
				r.Errorf("asks %q although it may watch", text)
			}
		}
		r.is(w, "one InProgress")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}
