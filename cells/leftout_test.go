// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/resource"
)

// An object that cannot be decoded is in the health, the log and the metrics until it can be,
// and the others are served.
func TestLeftOutIsShown(t *testing.T) {
	mend := make(chan struct{})
	url := hostileServer(t, func(w http.ResponseWriter, r *http.Request) {
		const bad = `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"bad","namespace":"a","resourceVersion":"3"},"data":{"x":1}}`
		if r.URL.Query().Get("watch") == "" {
			_, _ = io.WriteString(w, `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[`+bad+
				`,{"metadata":{"name":"good","namespace":"a","resourceVersion":"4"}}]}`)
			return
		}
		if r.URL.Query().Get("sendInitialEvents") != "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-mend:
			good := strings.NewReplacer(`"3"`, `"6"`, `"x":1`, `"x":"eA=="`).Replace(bad)
			_, _ = io.WriteString(w, `{"type":"MODIFIED","object":`+good+"}\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	})
	health, log := newHealthLog(), newSyncBuffer()
	err := run(t, slog.New(slog.NewTextHandler(log, nil)), nil, ClientFrom(&rest.Config{Host: url}), Metrics,
		cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Secret](impatient()),
		atStart(t, func(ctx context.Context, in struct {
			cell.In
			Secrets resource.Resource[*corev1.Secret]
			Metrics *ResourceMetrics
		}) error {
			check := func(objects int, leftOut string) {
				t.Helper()
				if n := len(storeOf(t, ctx, in.Secrets).List()); n != objects {
					t.Errorf("%d objects, want %d", n, objects)
				}
				want := "# HELP apiary_resource_left_out Objects whose newest state is left out because it cannot be decoded; 101 if there are more than 100.\n" +
					"# TYPE apiary_resource_left_out gauge\n" + `apiary_resource_left_out{resource="Secret.v1"} ` + leftOut + "\n"
				if err := testutil.GatherAndCompare(in.Metrics.Gatherer(), strings.NewReader(want), "apiary_resource_left_out"); err != nil {
					t.Error(err)
				}
			}
			in.Secrets.Events(ctx)
			health.await(t, "Secret.v1 Degraded: synced, 1 object at the last list, 1 object left out: a/bad", "decoding object a/bad@3", "field data.x")
			check(1, "1")
			close(mend)
			health.await(t, "Secret.v1 OK: synced")
			check(2, "0")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if strings.Count(text, "left out") != 2 || strings.Count(text, `key=a/bad error="decoding object a/bad@3`) != 1 {
		t.Error(text)
	}
}
