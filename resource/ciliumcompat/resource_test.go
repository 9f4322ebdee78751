// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package ciliumcompat_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	pkgresource "github.com/apiary-go/apiary/resource"
	resource "github.com/apiary-go/apiary/resource/ciliumcompat"
	"github.com/apiary-go/apiary/resource/resourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pagedOnly is a ListerWatcher without initial events.
type pagedOnly struct{ *cache.ListWatch }

func (pagedOnly) IsWatchListSemanticsUnSupported() bool { return true }

// serve returns a ListerWatcher of the pods. The first lists fail with the errors.
func serve(pods []corev1.Pod, failures ...error) cache.ListerWatcher {
	return pagedOnly{&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			if len(failures) > 0 {
				err := failures[0]
				failures = failures[1:]
				return nil, err
			}
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "10"}, Items: pods}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
			return watch.NewRaceFreeFake(), nil
		},
	}}
}

func newPod(name string) corev1.Pod {
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: name, UID: "u", ResourceVersion: "9", Labels: map[string]string{"app": "web"},
	}}
}

// start starts the lifecycle, and stops it at the end of the test.
func start(t *testing.T, lc *cell.DefaultLifecycle) {
	t.Helper()
	if err := lc.Start(slog.New(slog.DiscardHandler), t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lc.Stop(slog.New(slog.DiscardHandler), context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func storeOf[T runtime.Object](t *testing.T, r resource.Resource[T]) resource.Store[T] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := r.Store(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// take receives an event, marks it as done and returns its kind and key.
func take(t *testing.T, events <-chan resource.Event[*corev1.Pod]) string {
	t.Helper()
	select {
	case e := <-events:
		e.Done(nil)
		return string(e.Kind) + " " + e.Key.String()
	case <-time.After(time.Minute):
		t.Fatal("no event for a minute")
		return ""
	}
}

func TestNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lc := &cell.DefaultLifecycle{}
		metrics := &names{}
		byApp := func(obj any) ([]string, error) { return []string{obj.(*corev1.Pod).Labels["app"]}, nil }
		pods := resource.New[*corev1.Pod](lc, serve([]corev1.Pod{newPod("a"), newPod("b")}), metrics,
			resource.WithMetric("Pod"), resource.WithIndexers(cache.Indexers{"app": byApp}))
		start(t, lc)

		s := storeOf(t, pods)
		var keys []string
		for it := s.IterKeys(); it.Next(); {
			keys = append(keys, it.Key().String())
		}
		indexed, err := s.IndexKeys("app", "web")
		if err != nil || len(indexed) != 2 || len(keys) != 2 || !strings.HasPrefix(indexed[0], "shop/") {
			t.Errorf("IterKeys has %q, IndexKeys %q, %v", keys, indexed, err)
		}
		for _, key := range []string{"shop/a", "shop/b"} {
			if !strings.Contains(fmt.Sprint(keys), key) || !strings.Contains(fmt.Sprint(indexed), key) {
				t.Errorf("%s is missing from IterKeys %q or IndexKeys %q", key, keys, indexed)
			}
		}
		if _, err := s.IndexKeys("node", "n1"); err == nil {
			t.Error("no error for an index that there is not")
		}
		if err := s.CacheStore().Add(&corev1.Pod{}); !errors.Is(err, pkgresource.ErrReadOnly) {
			t.Errorf("Add to CacheStore returned %v", err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		take(t, pods.Events(ctx))
		if metrics.name != "pod" {
			t.Errorf("the workqueue has the name %q, want pod", metrics.name)
		}
	})
}

// names has the name of the queue that the last metrics are of.
type names struct {
	workqueue.MetricsProvider
	name string
}

type nothing struct{}

func (nothing) Inc()            {}
func (nothing) Dec()            {}
func (nothing) Set(float64)     {}
func (nothing) Observe(float64) {}

func (n *names) NewDepthMetric(name string) workqueue.GaugeMetric {
	n.name = name
	return nothing{}
}
func (*names) NewAddsMetric(string) workqueue.CounterMetric           { return nothing{} }
func (*names) NewRetriesMetric(string) workqueue.CounterMetric        { return nothing{} }
func (*names) NewLatencyMetric(string) workqueue.HistogramMetric      { return nothing{} }
func (*names) NewWorkDurationMetric(string) workqueue.HistogramMetric { return nothing{} }
func (*names) NewUnfinishedWorkSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nothing{}
}
func (*names) NewLongestRunningProcessorSecondsMetric(string) workqueue.SettableGaugeMetric {
	return nothing{}
}

func TestWithName(t *testing.T) {
	lc := &cell.DefaultLifecycle{}
	pods := resource.New[*corev1.Pod](lc, serve(nil), nil, resource.WithName("peers"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := pods.Store(ctx)
	var notSynced *pkgresource.NotSyncedError
	if !errors.As(err, &notSynced) || notSynced.Resource != "peers" || !errors.Is(err, context.Canceled) {
		t.Errorf("Store returned %v", err)
	}
}

// promise is one of Cilium's: what WithCRDSync gets.
type promise[T any] interface {
	Await(context.Context) (T, error)
}

// A kind that is installed later is found, and there is no need for a promise of it.
func TestWithCRDSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		missing := apierrors.NewGenericServerResponse(404, "list", schema.GroupResource{Resource: "pods"}, "", "", 0, false)
		lc := &cell.DefaultLifecycle{}
		pods := resource.New[*corev1.Pod](lc, serve([]corev1.Pod{newPod("a")}, missing, missing, missing), nil,
			resource.WithCRDSync(promise[struct{}](nil)))
		start(t, lc)
		begun := time.Now()
		storeOf(t, pods)
		if took := time.Since(begun); took < 15*time.Second || took > 30*time.Second {
			t.Errorf("three requests were refused, and the store is there after %v", took)
		}
	})
}

func TestTransforms(t *testing.T) {
	nameOf := func(p *corev1.Pod) (*corev1.Secret, error) { return &corev1.Secret{ObjectMeta: p.ObjectMeta}, nil }
	lazy := func(transform cache.TransformFunc) resource.ResourceOption {
		return resource.WithLazyTransform(func() runtime.Object { panic("not called") }, transform)
	}
	failed := errors.New("it cannot be made")
	for name, test := range map[string]struct {
		option resource.ResourceOption
		err    string
	}{
		"typed":      {resource.WithTransform(nameOf), ""},
		"lazy":       {lazy(func(obj any) (any, error) { return nameOf(obj.(*corev1.Pod)) }), ""},
		"fails":      {lazy(func(any) (any, error) { return nil, failed }), failed.Error()},
		"wrong type": {lazy(func(obj any) (any, error) { return obj, nil }), "the transform returned *v1.Pod, it must return *v1.Secret"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lc := &cell.DefaultLifecycle{}
				secrets := resource.New[*corev1.Secret](lc, serve([]corev1.Pod{newPod("a"), newPod("b")}), nil, test.option)
				start(t, lc)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				s, err := secrets.Store(ctx)
				if test.err != "" {
					if err == nil || !strings.Contains(err.Error(), test.err) {
						t.Fatalf("got %v, want %q in it", err, test.err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, exists, _ := s.GetByKey(resource.Key{Namespace: "shop", Name: "a"}); !exists {
					t.Error("the object is missing")
				}
			})
		})
	}
}

// A filtered resource gets leaving right, and says so if it has no parent to filter.
func TestNewFilteringResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := resourcetest.New[*corev1.Pod](t)
		pods := resource.From(fake.Resource())
		web := resource.NewFilteringResource(pods, func(p *corev1.Pod) bool { return p.Labels["app"] == "web" })
		events := web.Events(t.Context())
		a, b := newPod("a"), newPod("b")
		b.Labels = nil
		fake.Upsert(&b)
		fake.Upsert(&a)
		fake.Sync()
		for _, want := range []string{"upsert shop/a", "sync "} {
			if got := take(t, events); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		a.Labels = nil
		fake.Upsert(&a)
		if got := take(t, events); got != "delete shop/a" {
			t.Fatalf("got %q after the object left", got)
		}
	})

	foreign := struct{ resource.Resource[*corev1.Pod] }{}
	disabled := resource.NewFilteringResource[*corev1.Pod](foreign, func(*corev1.Pod) bool { return true })
	if _, open := <-disabled.Events(t.Context()); open {
		t.Error("the channel is open")
	}
	ended := make(chan error)
	disabled.Observe(t.Context(), nil, func(err error) { ended <- err })
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "has not made the parent") {
		t.Errorf("Observe ends with %v", err)
	}
}

// The place of a subscription is that of the user's call, not one in this package.
func TestSite(t *testing.T) {
	fake := resourcetest.New[*corev1.Pod](t)
	r := resource.From(fake.Resource())
	r.Events(t.Context())
	r.Observe(t.Context(), nil, nil)
	for _, s := range fake.Resource().(pkgresource.Inspector).Stats().Subscribers {
		if !strings.Contains(s.Site, "ciliumcompat/resource_test.go:") {
			t.Errorf("the subscription is at %s", s.Site)
		}
	}
}

// A handler and a limiter get the zero Key for a Sync.
func TestSubscriptionOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := resourcetest.New[*corev1.Pod](t)
		pods := resource.From(fake.Resource())
		var failed []string
		events := pods.Events(t.Context(),
			resource.WithRateLimiter(workqueue.NewTypedItemExponentialFailureRateLimiter[resource.WorkItem](time.Hour, time.Hour)),
			resource.WithErrorHandler(func(key resource.Key, n int, err error) resource.ErrorAction {
				failed = append(failed, fmt.Sprintf("%q %d", key, n))
				if n > 0 {
					return resource.RetryUpTo(1)(key, n, err)
				}
				return resource.AlwaysRetry(key, n, err)
			}))
		fake.Sync()
		(<-events).Done(errors.New("failed"))
		begun := time.Now()
		(<-events).Done(errors.New("failed again"))
		if time.Since(begun) != time.Hour {
			t.Errorf("retried after %v", time.Since(begun))
		}
		if _, open := <-events; open || fmt.Sprint(failed) != `["" 0 "" 1]` {
			t.Errorf("open %v, the handler was called with %v", open, failed)
		}
	})
}

func TestNewKey(t *testing.T) {
	pod := newPod("a")
	for want, obj := range map[string]any{
		"shop/a": &pod,
		"a":      &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}},
		"shop/b": cache.DeletedFinalStateUnknown{Key: "shop/b"},
		"b":      cache.DeletedFinalStateUnknown{Key: "b"},
		"":       "no object",
	} {
		if got := resource.NewKey(obj).String(); got != want {
			t.Errorf("the key of %T is %q, want %q", obj, got, want)
		}
	}
}
