// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// fullSink accepts some objects of each pass, and is full for the next one, for no time.
type fullSink struct {
	store.SinkDefaults
	accepts, pass int
	grows         int // so many more in each pass
}

func (s *fullSink) Begin(context.Context, store.Pass) error {
	s.pass = s.accepts
	s.accepts += s.grows
	return nil
}

func (s *fullSink) Apply(context.Context, store.Meta, *corev1.Pod) error {
	if s.pass--; s.pass >= 0 {
		return nil
	}
	drained := make(chan struct{})
	close(drained)
	return &store.FullError{Drained: drained}
}

func (s *fullSink) Delete(context.Context, store.Meta, *corev1.Pod, bool) error { return nil }
func (s *fullSink) Commit(context.Context, string) error                        { return nil }
func (s *fullSink) Abort(store.Pass, error)                                     {}

// A sink that is full in each pass, and drained at once, makes no list follow the other, unless
// each one gets further.
func TestFullSinkIsNoHotLoop(t *testing.T) {
	for _, mode := range []informer.ListMode{informer.ListPaged, informer.ListStreamed} {
		for grows, most := range []int{100, 4} {
			synctest.Test(t, func(t *testing.T) {
				server := &collection{}
				server.set("10", informertest.PodText("a", "8", "1"), informertest.PodText("b", "9", "1"), informertest.PodText("c", "10", "1"))
				var answers atomic.Int32
				transport := &informertest.Transport{Handler: func(w *informertest.Response, r *http.Request) {
					if answers.Add(1) > 1000 {
						<-r.Context().Done() // in a hot loop no time goes by
					}
					server.answer(w, r)
				}}
				r, _ := followPods(t, transport, func(c *informer.Config[*corev1.Pod]) {
					c.Lists, c.Sink = mode, &fullSink{accepts: 1, grows: grows}
				})
				elapse(10 * time.Minute)
				lists, _ := transport.Requests()
				if info := r.Info(); lists > most || (info.Passes > 0) != (grows > 0) {
					t.Errorf("mode %v, %d more each time: %d lists, %+v", mode, grows, lists, info)
				}
			})
		}
	}
}
