// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// The statuses of objects of several kinds, missing ones included, and what changes.
func TestStatusWatch(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"), idOf("Pod", "a", "gone"), idOf("ConfigMap", "a", "conf"), idOf("Pod", "a", "one"))
		r.is(w, "conf Current", "gone NotFound", "one InProgress")
		first := []string{r.next(w), r.next(w), r.next(w)}
		slices.Sort(first)
		if want := []string{"conf Current", "gone NotFound", "one InProgress"}; !slices.Equal(first, want) {
			r.Errorf("got %q first", first)
		}
		r.events(w, "synced")
		r.update(podIn(corev1.PodRunning, "a", "one", 0))
		r.events(w, "one Current")
		labelled := podIn(corev1.PodRunning, "a", "one", 0)
		labelled.Labels = map[string]string{"x": "y"} // no news
		r.update(labelled)
		r.update(podIn(corev1.PodRunning, "a", "gone", 0))
		r.events(w, "gone Current")
		r.remove(podIn(corev1.PodRunning, "a", "gone", 0))
		r.events(w, "gone NotFound")
		w.Close()
		r.events(w, "end")
	}, podIn(corev1.PodPending, "a", "one", 0), &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}

// The code in the comment of Status, in a hive that has only a client.
func TestStatusSnippet(t *testing.T) {
	ids := []status.ID{idOf("Pod", "a", "one")}
	h := hive.New(FakeClient, Status,
		cell.Invoke(func(lc cell.Lifecycle, engine *status.Engine) {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				_, err := engine.Wait(ctx, ids, status.All(status.Current))
				return err
			}})
		}),
		cell.Invoke(func(api *fakeapi.Server) error { return api.Add(podIn(corev1.PodSucceeded, "a", "one", 0)) }),
	)
	if err := h.Start(quiet(), soon(t)); err != nil {
		t.Error(err)
	}
	if err := h.Stop(quiet(), soon(t)); err != nil {
		t.Error(err)
	}
}

// A slow consumer gets each state, in order.
func TestStatusWatchShowsEachState(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"))
		r.events(w, "one InProgress", "synced")
		for range 5 {
			r.update(podIn(corev1.PodRunning, "a", "one", 0))
			r.update(podIn(corev1.PodPending, "a", "one", 0))
		}
		r.remove(podIn(corev1.PodPending, "a", "one", 0))
		r.update(podIn(corev1.PodRunning, "a", "one", 0))
		for range 5 {
			r.events(w, "one Current", "one InProgress")
		}
		r.events(w, "one NotFound", "one Current")
		r.update(podIn(corev1.PodSucceeded, "a", "two", 0))
		if err := w.Add(idOf("Pod", "a", "two")); err != nil {
			r.Fatal(err)
		}
		r.events(w, "two Current", "synced")
	}, podIn(corev1.PodPending, "a", "one", 0))
}

// Deployment, ReplicaSet, Pod: what changes below is seen, by owner, without a request.
func TestStatusChildren(t *testing.T) {
	d := deployment("a", "web", 1, 0)
	rs := replicaSet("a", "web-1", 1, 0, 1)
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("apps/Deployment", "a", "web"), idOf("apps/ReplicaSet", "a", "web-1"))
		r.is(w, "web InProgress", "web-1 InProgress")
		since := 0
		r.asked(&since)
		crashing := podIn(corev1.PodRunning, "a", "web-1-x", 2)
		crashing.Status.Conditions = nil
		crashing.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		r.update(crashing)
		r.is(w, "web InProgress", "web-1 Failed")
		sets := w.Statuses()[0].Children
		if len(sets) != 1 || short(sets[0]) != "web-1 Failed" || len(sets[0].Children) != 1 || short(sets[0].Children[0]) != "web-1-x Failed" {
			r.Errorf("the children are %v", sets)
		}
		r.update(podIn(corev1.PodRunning, "a", "web-1-x", 2), replicaSet("a", "web-1", 1, 1, 1), deployment("a", "web", 1, 1))
		r.is(w, "web Current", "web-1 Current")
		r.remove(podIn(corev1.PodRunning, "a", "web-1-x", 2))
		if pods := w.Statuses()[0].Children[0].Children; len(pods) != 0 {
			r.Errorf("left are %v", pods)
		}
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("requests for evaluations: %q", asked)
		}
	}, d, rs, replicaSet("a", "foreign", 1, 0, 0), podIn(corev1.PodPending, "a", "foreign", 0))
}

// A pod that no node takes is Failed after 15 s without an event.
func TestStatusRecheck(t *testing.T) {
	p := podIn(corev1.PodPending, "a", "one", 0)
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
	playStatus(t, status.Config{}, func(r *statusRig) {
		p.CreationTimestamp = metav1.Now()
		r.update(p)
		w := r.watch(idOf("Pod", "a", "one"))
		r.events(w, "one InProgress", "synced")
		begun := time.Now()
		r.events(w, "one Failed")
		if took := time.Since(begun); took > 16*time.Second || took < 14*time.Second {
			r.Errorf("it took %v", took)
		}
	})
}

var widgetKind = fakeapi.Kind{Group: "example.org", Version: "v1", Kind: "Widget"}

func widgetWith(name string, ready string) *unstructured.Unstructured {
	w := custom(widgetKind, "a", name)
	if ready != "" {
		w.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": ready}}}
	}
	return w
}

// A kind that is installed later, and goes again.
func TestStatusKindInstalledLater(t *testing.T) {
	playStatus(t, status.Config{Linger: -1}, func(r *statusRig) {
		w := r.watch(idOf("example.org/Widget", "a", "w"), idOf("Pod", "a", "one"))
		r.is(w, "one NotFound", "w Unknown/KindNotInstalled")
		r.api.Install(widgetKind)
		r.update(widgetWith("w", "False"))
		time.Sleep(time.Minute)
		r.is(w, "one NotFound", "w InProgress")
		r.update(widgetWith("w", "True"))
		r.is(w, "one NotFound", "w Current")
		r.api.Uninstall(widgetKind)
		time.Sleep(time.Minute)
		r.is(w, "one NotFound", "w NotFound/KindNotInstalled")
		if _, err := r.engine.Wait(r.Context(), []status.ID{idOf("example.org/Widget", "a", "w")}, status.All(status.NotFound)); err != nil {
			r.Errorf("waiting for what cannot be there: %v", err)
		}
		next := widgetKind
		next.Version = "v2"
		r.api.Install(next)
		r.update(custom(next, "a", "w"))
		time.Sleep(time.Minute)
		r.is(w, "one NotFound", "w Current")
	})
}

// A server that cannot be reached leaves the last status, stale.
func TestStatusStale(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		broken := errors.New("no route")
		r.api.Intercept(func(context.Context, fakeapi.Request) error { return broken })
		r.api.Disconnect()
		r.events(w, "one Current/Transient")
		if s := w.Statuses()[0]; s.Stale.IsZero() || s.Err == nil {
			r.Errorf("not stale: %+v", s)
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		_, err := r.engine.Wait(ctx, []status.ID{idOf("Pod", "a", "one")}, status.All(status.Current))
		var unmet *status.WaitError
		if !errors.As(err, &unmet) || !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("a stale status met the condition: %v", err)
		}
		r.api.Intercept(nil)
		r.events(w, "one Current")
		other := r.watch(idOf("Pod", "a", "one"))
		r.events(other, "one Current", "synced")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// An ID that cannot name an object says so, and one with a needless namespace does not
// matter.
func TestStatusNamespaces(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "", "one"), idOf("Node", "a", "n"), idOf("Namespace", "", "a"))
		synctest.Wait()
		got := w.Statuses()
		if short(got[0]) != "a Current" || short(got[1]) != "one Unknown/InvalidID" || got[1].Err == nil || short(got[2]) != "n Current" {
			r.Errorf("got %v", got)
		}
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
		r.remove(node)
		if got := w.Statuses(); short(got[2]) != "n NotFound" {
			r.Errorf("got %v", got)
		}
	}, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	playStatus(t, status.Config{}, func(r *statusRig) {
		if _, err := r.engine.Watch(r.Context(), status.ID{Name: "x"}); err == nil {
			r.Error("an ID without a kind is accepted")
		}
	})
}

// Which watches are opened, how they are shared, and when they end.
func TestStatusScopes(t *testing.T) {
	playStatus(t, status.Config{Linger: time.Minute, Wide: 8}, func(r *statusRig) {
		since := 0
		few := r.watch(idOf("Pod", "a", "p0"), idOf("Pod", "a", "p1"))
		r.is(few, "p0 NotFound", "p1 NotFound")
		if asked := r.asked(&since); !slices.ContainsFunc(asked, func(s string) bool { return s == "watch pods a metadata.name=p0" }) || slices.Contains(asked, "watch pods a") {
			r.Errorf("few objects: %q", asked)
		}
		again := r.watch(idOf("Pod", "a", "p0"))
		r.is(again, "p0 NotFound")
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("not shared: %q", asked)
		}
		var ids []status.ID
		for i := range 5 {
			ids = append(ids, idOf("Pod", "a", fmt.Sprint("p", i)))
		}
		many := r.watch(ids...)
		r.is(many, "p0 NotFound", "p1 NotFound", "p2 NotFound", "p3 NotFound", "p4 NotFound")
		if asked := r.asked(&since); !slices.Contains(asked, "watch pods a") {
			r.Errorf("many objects: %q", asked)
		}
		var wide []status.ID
		for i := range 10 {
			wide = append(wide, idOf("Pod", fmt.Sprint("ns", i), "p"))
		}
		everywhere := r.watch(wide...)
		synctest.Wait()
		if asked := r.asked(&since); !slices.Contains(asked, "watch pods") || len(asked) > 2 {
			r.Errorf("many namespaces: %q", asked)
		}
		for _, w := range []*status.Watch{few, again, many, everywhere} {
			w.Close()
		}
		time.Sleep(2 * time.Minute)
		r.asked(&since)
		time.Sleep(time.Hour)
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("after all ended: %q", asked)
		}
	})
}

// Objects come and go while it runs.
func TestStatusAddRemove(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch()
		r.events(w, "synced")
		if err := w.Add(idOf("Pod", "a", "one")); err != nil {
			r.Fatal(err)
		}
		r.events(w, "one Current", "synced")
		if err := w.Remove(idOf("Pod", "a", "one")); err != nil {
			r.Fatal(err)
		}
		r.is(w)
		r.update(podIn(corev1.PodPending, "a", "one", 0))
		if err := w.Add(idOf("Pod", "a", "one"), idOf("Pod", "a", "two")); err != nil {
			r.Fatal(err)
		}
		r.is(w, "one InProgress", "two NotFound")
		if err := w.Remove(idOf("Pod", "a", "two")); err != nil {
			r.Fatal(err)
		}
		r.events(w, "one InProgress", "synced")
		w.Close()
		if w.Add(idOf("Pod", "a", "x")) == nil {
			r.Error("a closed watch accepts objects")
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

func TestStatusWait(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		if got, err := r.engine.Wait(r.Context(), nil, status.All(status.Current)); err != nil || len(got) != 0 || len(r.api.Requests()) != 0 {
			r.Errorf("an empty set: %v, %v", got, err)
		}
		ids := []status.ID{idOf("Pod", "a", "one"), idOf("Pod", "a", "two")}
		done := make(chan error, 1)
		go func() {
			_, err := r.engine.Wait(r.Context(), ids, status.OrFailed(status.All(status.Current)))
			done <- err
		}()
		synctest.Wait()
		r.update(podIn(corev1.PodRunning, "a", "one", 0))
		select {
		case err := <-done:
			r.Fatalf("it ended early: %v", err)
		default:
		}
		r.update(podIn(corev1.PodRunning, "a", "two", 0))
		if err := <-done; err != nil {
			r.Error(err)
		}
		bad := podIn(corev1.PodRunning, "a", "two", 0)
		bad.Status.Conditions = nil
		bad.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		r.update(bad)
		_, err := r.engine.Wait(r.Context(), ids, status.OrFailed(status.All(status.Current)))
		var failed *status.FailedError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].ID.Name != "two" {
			r.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		got, err := r.engine.Wait(ctx, ids, status.All(status.Current))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "a/two: Failed") || len(got) != 2 {
			r.Errorf("got %v, %v", got, err)
		}
	})
}

// Who is cancelled and does not read leaves nothing behind; nor does the engine.
func TestStatusAbandoned(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		for range 50 {
			ctx, cancel := context.WithCancel(r.Context())
			w, err := r.engine.Watch(ctx, idOf("Pod", "a", "one"), idOf("apps/Deployment", "a", "web"))
			if err != nil {
				r.Fatal(err)
			}
			for range w.Events() {
				break
			}
			cancel() // and is not closed
		}
		kept := r.watch(idOf("Pod", "a", "one"))
		synctest.Wait()
		if err := r.engine.Stop(r.Context()); err != nil {
			r.Error(err)
		}
		if err := kept.Err(); !errors.Is(err, status.ErrStopped) {
			r.Errorf("the watch ended with %v", err)
		}
		if _, err := r.engine.Watch(r.Context()); !errors.Is(err, status.ErrStopped) {
			r.Errorf("got %v", err)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0)) // the bubble ends only without goroutines
}

func TestStatusStrict(t *testing.T) {
	playStatus(t, status.Config{Rules: &status.Rules{Strict: true}}, func(r *statusRig) {
		r.api.Install(widgetKind)
		r.update(widgetWith("w", ""))
		w := r.watch(idOf("example.org/Widget", "a", "w"), idOf("ConfigMap", "a", "conf"))
		r.is(w, "conf Current", "w InProgress")
	}, &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}

func TestStatusHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, health := fakeapi.New(), newHealthLog()
		if err := api.Add(podIn(corev1.PodPending, "a", "one", 0)); err != nil {
			t.Fatal(err)
		}
		h := hive.New(withFake(api), Status, StatusHealth("shop", idOf("Pod", "a", "one")), cell.Provide(func() cell.Health { return health }))
		if err := h.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		if first := <-health.lines; first != "shop Degraded: not observed yet: the server has not yet answered for all of 1 objects" {
			t.Errorf("at first it is %q", first)
		}
		health.await(t, "shop", "Degraded: 1 of 1 objects are not Current", "Pod a/one: InProgress")
		if err := api.Add(podIn(corev1.PodRunning, "a", "one", 0)); err != nil {
			t.Fatal(err)
		}
		health.await(t, "shop", "OK: objects that are Current: 1")
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
		health.await(t, "shop", "Stopped")
	})
}

func TestStatusBadConfig(t *testing.T) {
	for _, cfg := range []status.Config{
		{Mapping: status.ByMapper(nil)},
		{PollInterval: -1},
		{Rules: &status.Rules{Jobs: 7}},
		{Backoff: informer.Backoff{Initial: -1}},
	} {
		err := run(t, quiet(), nil, withFake(fakeapi.New()), StatusWith(cfg), cell.Invoke(func(*status.Engine) {}))
		if err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}
