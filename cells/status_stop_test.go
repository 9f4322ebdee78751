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
