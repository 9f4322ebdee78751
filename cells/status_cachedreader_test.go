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

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// get reads an object, for a minute at most.
func (r *statusRig) get(reader status.ClusterReader, gvk schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(gvk)
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, obj)
	return obj, err
}

// list lists in a namespace, for a minute at most.
func (r *statusRig) list(reader status.ClusterReader, gvk schema.GroupVersionKind, namespace string) (names []string, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(gvk)
	err = reader.ListNamespaceScoped(ctx, list, namespace, nil)
	for _, obj := range list.Items {
		names = append(names, obj.GetName())
	}
	return names, err
}

// A reader of a kind that is not installed makes no request for each read, and finds
// the kind when it comes, and comes again as something else.
func TestStatusClusterReaderKindInstalledLater(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		reader := r.engine.ClusterReader(r.Context())
		widget := schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Widget"}
		widgets := widget.GroupVersion().WithKind("WidgetList")
		read := func() (names []string, errs [2]error) {
			names, errs[0] = r.list(reader, widgets, "a")
			_, errs[1] = r.get(reader, widget, "a", "w")
			return names, errs
		}
		for i := range 3 {
			before := len(r.api.Requests())
			if _, errs := read(); status.ReasonOf(errs[0]) != status.KindNotInstalled || status.ReasonOf(errs[1]) != status.KindNotInstalled {
				r.Errorf("not installed: %v", errs)
			}
			if asked := r.api.Requests()[before:]; i > 0 && len(asked) != 0 {
				r.Errorf("asked again: %v", asked)
			}
		}
		r.api.Install(widgetKind)
		r.update(widgetWith("w", "True"))
		time.Sleep(time.Minute)
		if names, errs := read(); !slices.Equal(names, []string{"w"}) || errs != [2]error{} {
			r.Errorf("after it was installed: %q, %v", names, errs)
		}
		r.api.Uninstall(widgetKind)
		time.Sleep(time.Minute)
		if _, errs := read(); status.ReasonOf(errs[0]) != status.KindNotInstalled || status.ReasonOf(errs[1]) != status.KindNotInstalled {
			r.Errorf("after it went: %v", errs)
		}
		next := widgetKind
		next.Version = "v2"
		r.api.Install(next)
		r.update(custom(next, "a", "next"))
		time.Sleep(time.Minute)
		widgets.Version = "v2"
		if names, err := r.list(reader, widgets, "a"); !slices.Equal(names, []string{"next"}) || err != nil {
			r.Errorf("as another version: %q, %v", names, err)
		}
	})
}

// cachedPoller is a PollerEngine whose Polls read what the engine watches.
func (r *statusRig) cachedPoller() *status.PollerEngine {
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}})
	for _, kind := range []schema.GroupVersionKind{podVersion("Pod"), podVersion("ConfigMap"), {Group: "apps", Version: "v1", Kind: "ReplicaSet"}} {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	return &status.PollerEngine{Mapper: mapper, ClusterReaderFactory: status.ClusterReaderFactoryFunc(
		func(status.Reader, meta.RESTMapper, []status.ID) (status.ClusterReader, error) {
			return r.engine.ClusterReader(r.Context()), nil
		})}
}

// What is read while the server cannot be reached is an error and not what was the case
// before, for the kinds that it is about, and until it can be reached again; so that a
// Poll tells what is stale.
func TestStatusClusterReaderStale(t *testing.T) {
	one := podIn(corev1.PodRunning, "a", "one", 0)
	playStatus(t, status.Config{}, func(r *statusRig) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		var all []string
		polled := func() string { // since it was last called
			synctest.Wait()
			defer func() { all = nil }()
			return strings.Join(all, ", ")
		}
		go func() {
			for ev := range r.cachedPoller().Poll(ctx, []status.ID{idOf("Pod", "a", "one"), idOf("ConfigMap", "a", "conf")}, status.Options{}) {
				if ev.Type == status.ResourceUpdate {
					all = append(all, short(ev.Resource))
				}
			}
		}()
		reader := r.engine.ClusterReader(r.Context())
		read := func() []error {
			_, get := r.get(reader, podVersion("Pod"), "a", "one")
			_, list := r.list(reader, podVersion("PodList"), "a")
			_, other := r.get(reader, podVersion("ConfigMap"), "a", "conf")
			return []error{get, list, other, reader.Sync(r.Context())}
		}
		if err := errors.Join(read()...); err != nil {
			r.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := polled(); !strings.Contains(got, "one Current") {
			r.Errorf("polled %q", got)
		}
		broken := errors.New("no route")
		r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
			if req.Resource.Resource == "pods" {
				return broken
			}
			return nil
		})
		r.api.Disconnect()
		r.remove(one)
		time.Sleep(time.Hour)
		if errs := read(); !errors.Is(errs[0], broken) || !errors.Is(errs[1], broken) || errs[2] != nil || errs[3] != nil {
			r.Errorf("after an hour without an answer: %v", errs)
		}
		if got := polled(); got != "one Current/Transient" {
			r.Errorf("polled %q", got)
		}
		r.api.Intercept(nil)
		time.Sleep(10 * time.Minute)
		if errs := read(); !apierrors.IsNotFound(errs[0]) || errs[1] != nil {
			r.Errorf("when there is an answer again: %v", errs)
		}
		if got := polled(); !strings.HasSuffix(got, "one NotFound") {
			r.Errorf("polled %q", got)
		}
	}, one, &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}

// A version that is not the one that is read is an error, and neither an object of
// another version nor NotFound.
func TestStatusClusterReaderVersions(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		reader := r.engine.ClusterReader(r.Context())
		for version, ok := range map[string]bool{"v1": true, "": true, "v9": false} {
			for _, name := range []string{"one", "none"} {
				obj, err := r.get(reader, schema.GroupVersionKind{Version: version, Kind: "Pod"}, "a", name)
				switch {
				case !ok && (err == nil || apierrors.IsNotFound(err)),
					ok && name == "one" && (err != nil || obj.GetAPIVersion() != "v1"),
					ok && name == "none" && !apierrors.IsNotFound(err):
					r.Errorf("%s in %q: %v, %v", name, version, obj, err)
				}
			}
			names, err := r.list(reader, schema.GroupVersionKind{Version: version, Kind: "PodList"}, "a")
			if ok != (err == nil && slices.Equal(names, []string{"one"})) {
				r.Errorf("in %q: listed %q, %v", version, names, err)
			}
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// An object of a kind with namespaces that is asked for without one is an error, and
// not said to be missing; and nothing is requested for it.
func TestStatusClusterReaderNoNamespace(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		reader := r.engine.ClusterReader(r.Context())
		for range 2 {
			since := len(r.api.Requests())
			if _, err := r.get(reader, podVersion("Pod"), "", "one"); err == nil || apierrors.IsNotFound(err) || apierrors.IsTimeout(err) {
				r.Errorf("without a namespace: %v", err)
			}
			if asked := r.asked(&since); len(asked) != 0 {
				r.Errorf("asked %q", asked)
			}
			if names, err := r.list(reader, podVersion("PodList"), ""); !slices.Equal(names, []string{"one"}) || err != nil {
				r.Errorf("in all namespaces: %q, %v", names, err)
			}
		}
		if _, err := r.get(reader, podVersion("Node"), "", "n"); err != nil {
			r.Errorf("of a kind without namespaces: %v", err)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0), &corev1.Node{ObjectMeta: metaOf("", "n", 0)})
}

// What an object controls is found by its UID, with or without the labels that it
// selects, and without a look at what else there is.
func TestStatusClusterReaderChildren(t *testing.T) {
	crashing := podIn(corev1.PodRunning, "a", "mine", 1)
	crashing.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "c", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}},
	}}
	web := replicaSet("a", "web", 2, 1, 0)
	web.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}
	playStatus(t, status.Config{}, func(r *statusRig) {
		statuses := status.NewStatusReader(r.cachedPoller().Mapper, nil)
		reader := r.engine.ClusterReader(r.Context())
		read := func() {
			s, err := statuses.ReadStatus(r.Context(), reader, idOf("apps/ReplicaSet", "a", "web"))
			if err != nil || s.Status != status.Failed || len(s.Children) != 1 || s.Children[0].ID.Name != "mine" || s.ChildrenErr != nil {
				r.Errorf("read %v with %v, %v, %v", s, s.Children, s.ChildrenErr, err)
			}
		}
		few := testing.AllocsPerRun(10, read)
		for i := range 500 {
			other := podIn(corev1.PodRunning, "a", fmt.Sprint("other", i), 0)
			other.Labels = web.Spec.Selector.MatchLabels
			if err := r.api.Add(other); err != nil {
				r.Fatal(err)
			}
		}
		synctest.Wait()
		if many := testing.AllocsPerRun(10, read); many > few+500 {
			r.Errorf("%v allocations beside 500 other objects, %v without", many, few)
		}
	}, web, crashing)
}

// A reader ends with its Poll, or when it is closed, and what it read is given back.
func TestStatusClusterReaderClosed(t *testing.T) {
	playStatus(t, status.Config{Linger: -1}, func(r *statusRig) {
		ctx, cancel := context.WithCancel(r.Context())
		for ev := range r.cachedPoller().Poll(ctx, []status.ID{idOf("Pod", "a", "one")}, status.Options{}) {
			if ev.Type == status.Synced {
				cancel()
			}
		}
		cancel()
		reader := r.engine.ClusterReader(r.Context())
		if _, err := r.get(reader, podVersion("ConfigMap"), "a", "none"); !apierrors.IsNotFound(err) {
			r.Error(err)
		}
		r.api.Intercept(func(ctx context.Context, _ fakeapi.Request) error { <-ctx.Done(); return ctx.Err() })
		blocked := make(chan error, 1)
		go func() {
			_, err := r.get(reader, podVersion("Pod"), "b", "one")
			blocked <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := reader.Close(); err != nil {
				r.Error(err)
			}
		}
		if err := <-blocked; err == nil || errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("who waits is told %v", err)
		}
		if _, err := r.get(reader, podVersion("Pod"), "a", "one"); err == nil {
			r.Error("a closed reader reads")
		}
		r.api.Intercept(nil)
		synctest.Wait()
		since := len(r.api.Requests())
		time.Sleep(time.Hour)
		if asked := r.asked(&since); len(asked) > 0 {
			r.Errorf("after the end it asks %q", asked)
		}
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// What nobody has read for ten minutes is given back, and read anew when it is asked
// for again; what somebody reads, or waits for, is kept.
func TestStatusClusterReaderIdle(t *testing.T) {
	playStatus(t, status.Config{Linger: -1}, func(r *statusRig) {
		reader := r.engine.ClusterReader(r.Context())
		read := func(kind, name string) {
			r.Helper()
			if _, err := r.get(reader, podVersion(kind), "a", name); err != nil {
				r.Error(err)
			}
		}
		r.api.Intercept(func(ctx context.Context, req fakeapi.Request) error {
			if req.Resource.Resource != "nodes" {
				return nil
			}
			select {
			case <-time.After(30 * time.Minute):
			case <-ctx.Done():
			}
			return ctx.Err()
		})
		slow := make(chan error, 1)
		go func() {
			obj := &unstructured.Unstructured{}
			obj.SetGroupVersionKind(podVersion("Node"))
			slow <- reader.Get(r.Context(), types.NamespacedName{Name: "n"}, obj)
		}()
		read("Pod", "one")
		for range 20 {
			read("ConfigMap", "conf")
			time.Sleep(time.Minute)
		}
		since := len(r.api.Requests())
		read("ConfigMap", "conf")
		if asked := r.asked(&since); len(asked) != 0 {
			r.Errorf("for what is read it asks %q", asked)
		}
		for range 60 {
			read("ConfigMap", "conf")
			time.Sleep(time.Minute)
		}
		if err := <-slow; err != nil {
			r.Errorf("who waits is told %v", err)
		}
		for _, text := range r.asked(&since) {
			if strings.Contains(text, "pods") {
				r.Errorf("for what nobody reads it asks %q", text)
			}
		}
		read("Pod", "one")
		if asked := r.asked(&since); len(asked) == 0 {
			r.Error("what nobody had read was kept")
		}
	}, podIn(corev1.PodRunning, "a", "one", 0), &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)}, &corev1.Node{ObjectMeta: metaOf("", "n", 0)})
}
