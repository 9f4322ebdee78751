// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// The header Retry-After is obeyed, up to five minutes, also if the body is a Status that does
// not have it.
func TestRetryAfterOfAHeader(t *testing.T) {
	for _, what := range []string{"list", "streamed list", "watch"} {
		for header, want := range map[string]time.Duration{"100": 100 * time.Second, "100000": 5 * time.Minute, "soon": 800 * time.Millisecond, "-7": 800 * time.Millisecond} {
			for code, reason := range map[int]string{429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout", 500: "ServerTimeout"} {
				t.Run(fmt.Sprint(what, " ", header, " ", code), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var at []time.Duration
						start := time.Now()
						server := &collection{}
						server.set("10")
						transport := &informertest.Transport{Handler: func(w *informertest.Response, r *http.Request) {
							if informertest.IsWatch(r) == (what == "list") {
								server.answer(w, r)
								return
							}
							if at = append(at, time.Since(start)); len(at) == 1 {
								w.Header().Set("Retry-After", header)
								w.Refuse(code, reason)
								return
							}
							server.answer(w, r)
						}}
						mode := informer.ListPaged
						if what == "streamed list" {
							mode = informer.ListStreamed
						}
						followPods(t, transport, func(c *informer.Config[*corev1.Pod]) { c.Lists = mode })
						elapse(6 * time.Minute)
						if len(at) < 2 || at[1] != want {
							t.Errorf("requests at %v, want the second at %v", at, want)
						}
					})
				})
			}
		}
	}
}
