// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"testing"
	"time"

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
