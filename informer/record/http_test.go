// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// observed runs a Reflector of pods into a store, and returns what its observer got.
func observed(t *testing.T, src informer.Source[*corev1.Pod], d time.Duration, settings informer.Settings) string {
	var out strings.Builder
	start := time.Now()
	pods, err := store.New(store.Config[*corev1.Pod]{Name: "pods", OnChange: func(c store.Change[*corev1.Pod]) {
		fmt.Fprintf(&out, "%v change %v\n", time.Since(start), c.Meta)
	}})
	if err != nil {
		t.Fatal(err)
	}
	settings.Backoff.Jitter = -1
	r, err := informer.NewReflector(informer.Config[*corev1.Pod]{Name: "pods", Source: src, Sink: pods, Settings: settings,
		Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
			text := informertest.ReflectorEvent(start, o)
			if left, ok := o.(informer.ObjectLeftOut); ok {
				text = fmt.Sprintf("left out %v: %v", left.Meta, left.Err)
			}
			fmt.Fprintf(&out, "%v %s\n", time.Since(start), text)
		})})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	_ = r.Run(ctx)
	for _, pod := range pods.List() {
		fmt.Fprintf(&out, "%s %s %s\n", pod.Name, pod.ResourceVersion, pod.Spec.NodeName)
	}
	return out.String()
}

// trouble is a server of pods: a pod that cannot be decoded, a silent watch, an outage, a
// page of a proxy, and checks by metadata. If it is mute, streamed lists have no events.
func trouble(server *informertest.Transport, mute bool) {
	bad := strings.Replace(informertest.PodText("bad", "3", "v"), `"nodeName":"v"`, `"nodeName":1`, 1)
	var watches atomic.Int32
	server.Handler = func(w *informertest.Response, r *http.Request) {
		switch {
		case !informertest.IsWatch(r) && strings.Contains(r.Header.Get("Accept"), "PartialObjectMetadata"):
			w.Send(strings.ReplaceAll(informertest.PodsText("9", "", informertest.PodText("a", "5", "v")), "PodList", "PartialObjectMetadataList"))
		case !informertest.IsWatch(r):
			w.Send(informertest.PodsText("5", "", informertest.PodText("a", "2", "node-1"), bad))
		case informertest.IsInitial(r) && mute:
			w.WriteHeader(http.StatusOK)
			w.Wait(time.Hour)
		case informertest.IsInitial(r):
			w.WriteHeader(http.StatusBadRequest)
			w.Send(informertest.StatusText(http.StatusBadRequest, "BadRequest"))
		default:
			w.WriteHeader(http.StatusOK)
			switch watches.Add(1) {
			case 1:
				w.Wait(3 * time.Second)
				w.Send(informertest.EventText("MODIFIED", informertest.PodText("a", "6", "node-2")))
			case 2:
				w.Send("<html>sign in")
				return
			}
			w.Wait(time.Hour)
		}
	}
	down := fmt.Errorf("dial: %w", context.DeadlineExceeded)
	time.AfterFunc(4*time.Minute, func() { server.Down(down) })
	time.AfterFunc(12*time.Minute, func() { server.Down(nil) })
}

// Recorded bodies of an API server in trouble give the same states, causes and times.
func TestBodiesReplayed(t *testing.T) {
	for name, settings := range map[string]informer.Settings{
		"default":  {},
		"metadata": {CheckMetadata: true, CheckInterval: 2 * time.Minute},
		"mute":     {},
		"short":    {IdleTimeout: time.Minute, MaxInternalErrorRetryDuration: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			const long = 40 * time.Minute
			var recording bytes.Buffer
			var want string
			synctest.Test(t, func(t *testing.T) {
				server := &informertest.Transport{}
				trouble(server, name == "mute")
				lw := source.NewListWatchFromClient(informertest.Client(t, server), "pods", "")
				want = observed(t, source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithRecording(&recording)), long, settings)
			})
			if has := strings.Contains(recording.String(), "list of metadata"); has != settings.CheckMetadata {
				t.Errorf("a list of metadata is recorded: %v", has)
			}
			synctest.Test(t, func(t *testing.T) {
				replay, err := record.NewReplay[*corev1.Pod](&recording, 1)
				if err != nil {
					t.Fatal(err)
				}
				if got := observed(t, replay, long, settings); got != want {
					t.Errorf("replayed is\n%s\nrecorded was\n%s\n%v", got, want, replay.Err())
				}
			})
			for _, trouble := range []string{"left out n/bad", "silent", "not an API server", "timeout", "expired"} {
				if !strings.Contains(want, trouble) {
					t.Errorf("no %q in\n%s", trouble, want)
				}
			}
		})
	}
}
