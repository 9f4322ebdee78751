// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

type appPods resource.Resource[*corev1.Pod]

func TestPodsAndServices(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	pods, services := server.kube.CoreV1().Pods(ns), server.kube.CoreV1().Services(ns)
	first, err := pods.Create(t.Context(), newPod("first"), metav1.CreateOptions{})
	must(t, err)

	var all resource.Resource[*corev1.Pod]
	var some appPods
	var svcs resource.Resource[*corev1.Service]
	var seen occurrences
	startApp(t, cluster.Kubeconfig(),
		cells.Resource[*corev1.Pod](cells.InNamespace(ns), cells.With(
			resource.WithObserver(&seen),
			resource.WithIndexers(cache.Indexers{"phase": func(obj any) ([]string, error) {
				return []string{string(obj.(*corev1.Pod).Status.Phase)}, nil
			}}))),
		cells.ResourceAs(func(r resource.Resource[*corev1.Pod]) appPods { return r },
			cells.InNamespace(ns), cells.WithLabelSelector("app=chosen")),
		cells.Resource[*corev1.Service](cells.InNamespace(ns)),
		get(&all), get(&some), get(&svcs),
	)
	everything, chosen, services2 := record(t, all), record[*corev1.Pod](t, some), record(t, svcs)
	for _, rec := range []*recorder[*corev1.Pod]{everything, chosen} {
		rec.waitSynced(t)
	}
	services2.waitSynced(t)
	everything.waitFor(t, first)

	second, err := pods.Create(t.Context(), newPod("second"), metav1.CreateOptions{})
	must(t, err)
	everything.waitFor(t, first, second)
	second, err = pods.Patch(t.Context(), "second", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"app":"chosen"}}}`), metav1.PatchOptions{})
	must(t, err)
	everything.waitFor(t, first, second)
	chosen.waitFor(t, second)
	first, err = pods.Patch(t.Context(), "first", types.MergePatchType,
		[]byte(`{"status":{"phase":"Running"}}`), metav1.PatchOptions{}, "status")
	must(t, err)
	everything.waitFor(t, first, second)

	svc, err := services.Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	must(t, err)
	services2.waitFor(t, svc)

	s, err := all.Store(t.Context())
	must(t, err)
	if running, err := s.ByIndex("phase", "Running"); err != nil || len(running) != 1 || running[0].Name != "first" {
		t.Errorf("running: %v, %v", running, err)
	}

	// Deleted and created again under its name, and out of the selection.
	must(t, pods.Delete(t.Context(), "first", now()))
	first, err = pods.Create(t.Context(), newPod("first"), metav1.CreateOptions{})
	must(t, err)
	everything.waitFor(t, first, second)
	_, err = pods.Patch(t.Context(), "second", types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"app":"other"}}}`), metav1.PatchOptions{})
	must(t, err)
	chosen.waitFor(t)
	must(t, pods.Delete(t.Context(), "second", now()))
	must(t, services.Delete(t.Context(), "web", metav1.DeleteOptions{}))
	everything.waitFor(t, first)
	services2.waitFor(t)
	everything.check(t, everything.state)

	if done := each[informer.ListDone](&seen); len(done) != 1 || !done[0].Streamed {
		t.Errorf("passes %+v, want one, streamed", done)
	}
	if failed := each[informer.ListFailed](&seen); failed != nil {
		t.Errorf("failed passes: %+v", failed)
	}
}

// A paged list of a real server: every request has a limit.
func TestPagedList(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	var want []metav1.Object
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		cm, err := server.kube.CoreV1().ConfigMaps(ns).Create(t.Context(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
		want = append(want, cm)
	}
	var r resource.Resource[*corev1.ConfigMap]
	var seen occurrences
	startApp(t, cluster.Kubeconfig(), get(&r),
		cells.Resource[*corev1.ConfigMap](cells.InNamespace(ns), cells.With(resource.WithObserver(&seen),
			resource.WithSettings(informer.Settings{Lists: informer.ListPaged, PageSize: 3}))))
	rec := record(t, r)
	rec.waitFor(t, want...)
	rec.waitSynced(t)
	pages := each[informer.PageRead](&seen)
	if len(pages) != 3 || pages[0].Objects != 3 || pages[2].Objects != 1 || pages[0].Remaining != 4 {
		t.Errorf("pages %+v", pages)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
