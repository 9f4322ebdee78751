// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/cilium/hive/cell"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// Health has the newest failure, and ends it when what failed has succeeded.
func TestHealthFollows(t *testing.T) {
	backing := func(cause informer.Cause, text string) informer.BackingOff {
		return informer.BackingOff{Cause: cause, Err: errors.New(text)}
	}
	failing := informer.ReflectorInfo{Err: errors.New("x")}
	x := store.Meta{Key: store.Key{Namespace: "ns", Name: "x"}, Version: "7"}
	left := []informer.LeftOut{
		{Meta: x, Err: &informer.DecodingError{Meta: x, Err: errors.New("odd")}}, {Err: &informer.DecodingError{Err: errors.New("even")}},
	}
	for name, steps := range map[string][]struct {
		info informer.ReflectorInfo
		o    informer.Occurrence
		says string // empty: nothing
	}{
		"another error of the same cause": {
			{failing, backing(informer.CauseServer, "etcd is down"), " Degraded: cannot list or watch: server: etcd is down"},
			{failing, backing(informer.CauseServer, "etcd is down"), ""},
			{failing, backing(informer.CauseServer, "webhook is broken"), " Degraded: cannot list or watch: server: webhook is broken"},
			{failing, informer.ListDone{Objects: 1}, " OK: synced, 1 object at the last list"},
			{failing, informer.Recovered{}, ""},
			{failing, backing(informer.CauseServer, "webhook is broken"), " Degraded: cannot list or watch: server: webhook is broken"},
		},
		"a list that is read in another way at once": {
			{informer.ReflectorInfo{}, informer.ListFailed{Streamed: true, Cause: informer.CauseRejected, Err: errors.New("sendInitialEvents")}, ""},
			{informer.ReflectorInfo{}, informer.PageRead{PageInfo: store.PageInfo{Number: 1}}, ""},
		},
		"a list that gets further": {
			{failing, backing(informer.CauseServer, "etcd is down"), " Degraded: cannot list or watch: server: etcd is down"},
			{failing, informer.PageRead{PageInfo: store.PageInfo{Number: 1}}, ""},
			{informer.ReflectorInfo{}, informer.PageRead{PageInfo: store.PageInfo{Number: 2}}, " OK: listing, page 2 was read"},
			{informer.ReflectorInfo{}, informer.PageRead{PageInfo: store.PageInfo{Number: 3}}, ""},
			{informer.ReflectorInfo{}, informer.ListDone{Objects: 1500}, " OK: synced, 1500 objects at the last list"},
		},
		"objects that are left out": {
			{informer.ReflectorInfo{LeftOut: left[:1]}, informer.ObjectLeftOut{}, ""},
			{informer.ReflectorInfo{Passes: 1, LeftOut: left[:1]}, informer.ListDone{Objects: 2}, " Degraded: synced, 2 objects at the last list, 1 object left out: ns/x: decoding object ns/x@7: odd"},
			{informer.ReflectorInfo{Passes: 1, LeftOut: left[:1]}, informer.PageRead{}, ""},
			{informer.ReflectorInfo{Passes: 1, LeftOut: left}, informer.ObjectLeftOut{}, " Degraded: synced, 2 objects left out: ns/x and others: decoding object ns/x@7: odd"},
			{informer.ReflectorInfo{Passes: 2, LeftOut: left}, informer.ListDone{Objects: 2}, ""},
			{failing, backing(informer.CauseServer, "etcd is down"), " Degraded: cannot list or watch: server: etcd is down"},
			{failing, informer.LeftOutEnded{}, ""},
			{informer.ReflectorInfo{Passes: 2, LeftOut: left[1:], MoreLeftOut: true}, informer.Recovered{}, " Degraded: synced, more than 1 object left out: one without a name: decoding an object: even"},
			{informer.ReflectorInfo{Passes: 2}, informer.LeftOutEnded{}, " OK: synced"},
		},
		"a sink that refuses": {
			{failing, backing(informer.CauseSink, "503"), " Degraded: the sink failed: 503"},
			{failing, informer.WatchOpened{}, ""},
			{informer.ReflectorInfo{}, informer.Recovered{}, " OK: synced"},
		},
	} {
		health := newHealthLog()
		r := &reporter{health: health}
		for i, step := range steps {
			r.Observe(step.info, step.o)
			got := ""
			if len(health.lines) > 0 {
				got = <-health.lines
			}
			if got != step.says || len(health.lines) > 0 {
				t.Errorf("%s, step %d: got %q, want %q", name, i, got, step.says)
			}
		}
	}
}

// A sign-in page in place of the API server is said to be one, by its title and no more.
func TestHealthOfASignInPage(t *testing.T) {
	noCluster(t)
	health := newHealthLog()
	url, _ := serveAPI(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/api/v1" {
			_, _ = w.Write([]byte(`<html><head><title>Sign in</title></head><body><input name="csrf" value="s3cr3t"></body></html>`))
		}
	}))
	err := run(t, quiet(), []string{"--k8s-api-server=" + url}, Client, cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Pod](), Resource[*appsv1.Deployment](),
		atStart(t, func(ctx context.Context, r struct {
			cell.In
			Pods        resource.Resource[*corev1.Pod]
			Deployments resource.Resource[*appsv1.Deployment]
		}) error {
			r.Pods.Events(ctx)
			health.await(t, "Pod.v1 Degraded: cannot list: not an API server: ", `Pod.v1: discovery: not a response of an API server: HTTP 200 with text/html "Sign in"`)
			r.Deployments.Events(ctx)
			health.await(t, "Deployment.v1.apps Degraded: cannot list: not an API server: ", "HTTP 200 with an empty body")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
}
