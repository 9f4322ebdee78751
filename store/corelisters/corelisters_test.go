// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package corelisters_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/corelisters"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

func newStore[T metav1.Object](t testing.TB, objs ...T) *store.Store[T] {
	t.Helper()
	s, err := store.New(store.Config[T]{})
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range objs {
		if err := s.Apply(ctx, store.MetaOf(obj), obj); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func meta(namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels, ResourceVersion: "1"}
}

func service(namespace, name string, selector map[string]string) *corev1.Service {
	return &corev1.Service{ObjectMeta: meta(namespace, name, nil), Spec: corev1.ServiceSpec{Selector: selector}}
}

func pod(namespace string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: meta(namespace, "pod", labels)}
}

// names joins the names in the order in which they are.
func names(services []*corev1.Service) string {
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

type set = map[string]string

func TestPodAndNodeLister(t *testing.T) {
	web := pod("ns", set{"app": "web"})
	pods, err := corelisters.NewPodLister(newStore(t, web), "app")
	if err != nil {
		t.Fatal(err)
	}
	if got := pods.In("ns").List(labels.SelectorFromSet(set{"app": "web"})); len(got) != 1 || got[0] != web {
		t.Errorf("pods: %v", got)
	}
	_, errPod := pods.In("ns").Get("x")
	node := &corev1.Node{ObjectMeta: meta("", "n1", nil)}
	nodes, err := corelisters.NewNodeLister(newStore(t, node))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := nodes.GetNodeInfo("n1"); got != node || err != nil {
		t.Errorf("node: %v, %v", got, err)
	}
	got, errNode := nodes.GetNodeInfo("x")
	if got != nil {
		t.Errorf("node: %v", got)
	}
	services, err := corelisters.NewServiceLister(newStore[*corev1.Service](t))
	if err != nil {
		t.Fatal(err)
	}
	_, errService := services.Get("x")
	for resource, err := range map[string]error{"pods": errPod, "nodes": errNode, "services": errService} {
		if !apierrors.IsNotFound(err) || err.Error() != resource+` "x" not found` {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

func TestConstructionFails(t *testing.T) {
	_, err1 := corelisters.NewPodLister(nil)
	_, err2 := corelisters.NewNodeLister(nil)
	_, err3 := corelisters.NewServiceLister(nil)
	for _, err := range []error{err1, err2, err3} {
		if err == nil || !strings.Contains(err.Error(), "store is nil") {
			t.Errorf("got %v", err)
		}
	}
}

func TestGetPodServices(t *testing.T) {
	l, err := corelisters.NewServiceLister(newStore(t,
		service("ns", "web", set{"app": "web"}),
		service("ns", "front", set{"app": "web", "tier": "front"}),
		service("ns", "all-front", set{"tier": "front"}),
		service("ns", "nil", nil),
		service("ns", "empty", set{}),
		service("other", "elsewhere", set{"app": "web"}),
	))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pod  *corev1.Pod
		want string
	}{
		{pod("ns", set{"app": "web", "tier": "front", "x": "y"}), "all-front front web"},
		{pod("ns", set{"app": "web", "tier": "back"}), "web"},
		{pod("ns", set{"app": "db"}), ""},
		{pod("ns", nil), ""},
		{pod("other", set{"app": "web", "tier": "front"}), "elsewhere"},
		{pod("none", set{"app": "web"}), ""},
	} {
		if got := names(l.GetPodServices(tt.pod)); got != tt.want {
			t.Errorf("%s %v: got %q, want %q", tt.pod.Namespace, tt.pod.Labels, got, tt.want)
		}
	}
	notFront := l.Where(func(s *corev1.Service) bool { return s.Name != "front" }).In("ns")
	restricted, err := corelisters.ServicesOf(notFront)
	if err != nil {
		t.Fatal(err)
	}
	front := set{"app": "web", "tier": "front"}
	if got := names(restricted.GetPodServices(pod("ns", front))); got != "all-front web" {
		t.Errorf("a view has %q", got)
	}
	if got := names(restricted.GetPodServices(pod("other", front))); got != "" {
		t.Errorf("a view of another namespace has %q", got)
	}
}

// The services of a pod are those that a check of each service finds, after any changes.
func TestGetPodServicesModel(t *testing.T) {
	pairs := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}), rapid.SampledFrom([]string{"", "1", "2"}), 0, 3)
	namespace := rapid.SampledFrom([]string{"x", "y"})
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore[*corev1.Service](t)
		indexed, err := corelisters.NewServiceLister(s)
		if err != nil {
			rt.Fatal(err)
		}
		version := 1
		rt.Repeat(map[string]func(*rapid.T){
			"apply": func(rt *rapid.T) {
				version++
				svc := service(namespace.Draw(rt, "namespace"), rapid.StringMatching(`[a-d]`).Draw(rt, "name"), pairs.Draw(rt, "selector"))
				svc.ResourceVersion = strconv.Itoa(version)
				_ = s.Apply(ctx, store.MetaOf(svc), svc)
			},
			"": func(rt *rapid.T) {
				p := pod(namespace.Draw(rt, "of"), pairs.Draw(rt, "labels"))
				var want []string
				for key, svc := range s.All() {
					if key.Namespace == p.Namespace && len(svc.Spec.Selector) > 0 &&
						labels.SelectorFromSet(svc.Spec.Selector).Matches(labels.Set(p.Labels)) {
						want = append(want, key.Name)
					}
				}
				slices.Sort(want)
				if got := names(indexed.GetPodServices(p)); got != strings.Join(want, " ") {
					rt.Fatalf("%v: got %q, want %q", p.Labels, got, want)
				}
			},
		})
	})
}

// Without the index all services are read, with the same result.
func TestGetPodServicesWithoutIndex(t *testing.T) {
	s := newStore(t, service("ns", "b", set{"app": "web"}), service("ns", "a", set{"app": "web"}),
		service("other", "c", set{"app": "web"}), service("ns", "empty", nil))
	l, err := store.NewLister(s, corev1.Resource("services"))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(corelisters.ServiceLister{Lister: l}.GetPodServices(pod("ns", set{"app": "web"}))); got != "a b" {
		t.Errorf("got %q", got)
	}
}

func ExampleServiceLister_GetPodServices() {
	services, err := store.New(store.Config[*corev1.Service]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	lister, err := corelisters.NewServiceLister(services)
	if err != nil {
		fmt.Println(err)
		return
	}
	for name, selector := range map[string]map[string]string{
		"web":     {"app": "web"},
		"canary":  {"app": "web", "track": "canary"},
		"db":      {"app": "db"},
		"by-hand": nil, // without a selector
	} {
		svc := &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, ResourceVersion: "1"},
			Spec:       corev1.ServiceSpec{Selector: selector},
		}
		_ = services.Apply(context.Background(), store.MetaOf(svc), svc)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "web-1", Labels: map[string]string{"app": "web", "track": "canary"},
	}}
	for _, svc := range lister.GetPodServices(pod) {
		fmt.Println(svc.Name)
	}
	// Output:
	// canary
	// web
}

// BenchmarkGetPodServices finds the one service of a pod among 1000 in its
// namespace, with the index and without.
func BenchmarkGetPodServices(b *testing.B) {
	s := newStore[*corev1.Service](b)
	for i := range 1000 {
		svc := service("ns", fmt.Sprintf("svc-%d", i), set{"app": fmt.Sprintf("app-%d", i), "tier": "front"})
		_ = s.Apply(ctx, store.MetaOf(svc), svc)
	}
	l, err := store.NewLister(s, corev1.Resource("services"))
	if err != nil {
		b.Fatal(err)
	}
	p := pod("ns", set{"app": "app-500", "tier": "front", "pod-template-hash": "5d4f8c7b9", "version": "v1", "zone": "a"})
	run := func(l corelisters.ServiceLister) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := l.GetPodServices(p); len(got) != 1 {
					b.Fatal(got)
				}
			}
		}
	}
	b.Run("scan", run(corelisters.ServiceLister{Lister: l}))
	indexed, err := corelisters.ServicesOf(l)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("indexed", run(indexed))
}
