// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/resource"
)

var (
	widgets = FakeKind{Group: "example.com", Version: "v1", Kind: "Widget"}
	gadgets = FakeKind{Group: "example.com", Version: "v1", Kind: "Gadget", ClusterScoped: true}
)

func pod(namespace, name string, labels ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}}}
	for i := 0; i+1 < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	return p
}

func custom(kind FakeKind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"size": int64(1)}}}
	u.SetGroupVersionKind(kind.gvk())
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func fakeClients(t *testing.T, api *FakeAPI) clientOut {
	t.Helper()
	out, err := buildClient(api.Config(), "fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Disconnect)
	return out
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch ended")
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	panic("unreachable")
}

// An object that is created between the list and the watch is not lost.
func TestFakeListWatchGap(t *testing.T) {
	api := NewFakeAPI(widgets)
	c := fakeClients(t, api)
	ctx := soon(t)
	pods := c.Kubernetes.CoreV1().Pods("a")
	gvr := widgets.gvr()
	for i := range 300 {
		name := fmt.Sprintf("p%d", i)
		list, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Half of the rounds race the creation with the watch.
		created := make(chan error, 1)
		create := func() {
			_, err := pods.Create(ctx, pod("a", name), metav1.CreateOptions{})
			created <- err
		}
		if i%2 == 0 {
			create()
		} else {
			go create()
		}
		w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != watch.Added || e.Object.(*corev1.Pod).Name != name {
			t.Fatalf("round %d: %v %v", i, e.Type, e.Object)
		}
		w.Stop()
		if err := <-created; err != nil {
			t.Fatal(err)
		}

		// The same by the dynamic client, seen by the metadata client.
		partial, err := c.Metadata.Resource(gvr).Namespace("a").List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Dynamic.Resource(gvr).Namespace("a").Create(ctx, custom(widgets, "a", name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		w, err = c.Metadata.Resource(gvr).Namespace("a").Watch(ctx, metav1.ListOptions{ResourceVersion: partial.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != watch.Added || e.Object.(*metav1.PartialObjectMetadata).Name != name {
			t.Fatalf("round %d: %v %v", i, e.Type, e.Object)
		}
		w.Stop()
	}
}

func TestFakeObjects(t *testing.T) {
	api := NewFakeAPI()
	c := fakeClients(t, api)
	ctx := soon(t)
	pods := c.Kubernetes.CoreV1().Pods("a")
	version := func(p *corev1.Pod) int {
		n, err := strconv.Atoi(p.ResourceVersion)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}

	one, err := pods.Create(ctx, pod("a", "one"), metav1.CreateOptions{})
	if err != nil || one.UID == "" || version(one) < 1 {
		t.Fatal(one, err)
	}
	if _, err := pods.Create(ctx, pod("a", "one"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Error(err)
	}
	if _, err := pods.Get(ctx, "two", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	changed := one.DeepCopy()
	changed.Labels = map[string]string{"x": "y"}
	two, err := pods.Update(ctx, changed, metav1.UpdateOptions{})
	if err != nil || version(two) <= version(one) || two.UID != one.UID {
		t.Fatal(two, err)
	}
	if _, err := pods.Update(ctx, changed, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Error(err)
	}
	if same, err := pods.Update(ctx, two, metav1.UpdateOptions{}); err != nil || same.ResourceVersion != two.ResourceVersion {
		t.Error("a write without a change made a version", err)
	}
	running := two.DeepCopy()
	running.Labels = nil
	running.Status.Phase = corev1.PodRunning
	three, err := pods.UpdateStatus(ctx, running, metav1.UpdateOptions{})
	if err != nil || three.Status.Phase != corev1.PodRunning || three.Labels["x"] != "y" {
		t.Error(three, err)
	}
	for patchType, patch := range map[types.PatchType]string{
		types.JSONPatchType:           `[{"op":"add","path":"/metadata/labels/json","value":"1"}]`,
		types.MergePatchType:          `{"metadata":{"labels":{"merge":"1"}}}`,
		types.StrategicMergePatchType: `{"metadata":{"labels":{"strategic":"1"}}}`,
		types.ApplyPatchType:          `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"one","labels":{"apply":"1"}}}`,
	} {
		if _, err := pods.Patch(ctx, "one", patchType, []byte(patch), metav1.PatchOptions{FieldManager: "test"}); err != nil {
			t.Error(patchType, err)
		}
	}
	got, err := pods.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || len(got.Labels) != 5 {
		t.Error(got.Labels, err)
	}

	// A finalizer holds the deletion back.
	got.Finalizers = []string{"example.com/hold"}
	if _, err = pods.Update(ctx, got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := pods.Delete(ctx, "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err = pods.Get(ctx, "one", metav1.GetOptions{})
	if err != nil || got.DeletionTimestamp == nil {
		t.Fatal(got, err)
	}
	got.Finalizers = nil
	if _, err = pods.Update(ctx, got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pods.Get(ctx, "one", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	again, err := pods.Create(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "one-"}}, metav1.CreateOptions{})
	if err != nil || again.UID == one.UID || again.Name == "one-" {
		t.Error(again, err)
	}
	built := custom(FakeKind{Version: "v1", Kind: "Pod"}, "a", "built")
	delete(built.Object, "spec")
	if err := api.Add(built); err != nil {
		t.Fatal(err)
	}
	if list, err := pods.List(ctx, metav1.ListOptions{}); err != nil || len(list.Items) != 2 {
		t.Error(list, err)
	}
	if err := api.Add(custom(widgets, "a", "w")); err == nil {
		t.Error("a kind that is not installed was accepted")
	}
}

func TestFakeSelectorsAndPages(t *testing.T) {
	api := NewFakeAPI()
	c := fakeClients(t, api)
	ctx := soon(t)
	for i := range 10 {
		p := pod([]string{"a", "b"}[i%2], fmt.Sprintf("p%d", i), "app", []string{"x", "y"}[i/5])
		p.Spec.NodeName = fmt.Sprint("n", i%2)
		if err := api.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	names := func(namespace string, opts metav1.ListOptions) (names []string) {
		for {
			list, err := c.Kubernetes.CoreV1().Pods(namespace).List(ctx, opts)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list.Items {
				names = append(names, p.Name)
			}
			if opts.Continue = list.Continue; opts.Continue == "" {
				return names
			}
			if err := api.Add(pod("a", "p00", "app", "x")); err != nil { // not in this list
				t.Fatal(err)
			}
		}
	}
	if got := names("a", metav1.ListOptions{LabelSelector: "app=y"}); !slices.Equal(got, []string{"p6", "p8"}) {
		t.Error(got)
	}
	if got := names("", metav1.ListOptions{FieldSelector: "spec.nodeName=n1,metadata.name!=p1"}); !slices.Equal(got, []string{"p3", "p5", "p7", "p9"}) {
		t.Error(got)
	}
	if got := names("", metav1.ListOptions{Limit: 3}); len(got) != 10 || slices.Contains(got, "p00") {
		t.Error(got)
	}

	// Leaving and entering a selection.
	list, err := c.Kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.Kubernetes.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{LabelSelector: "app=x", ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for _, step := range []struct {
		app  string
		want watch.EventType
	}{{"y", watch.Deleted}, {"x", watch.Added}} {
		if err := api.Add(pod("a", "p0", "app", step.app)); err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != step.want || e.Object.(*corev1.Pod).Labels["app"] != "x" {
			t.Error(step, e)
		}
	}
}

func TestFakeStreamedList(t *testing.T) {
	api := NewFakeAPI(gadgets)
	c := fakeClients(t, api)
	if err := api.Add(pod("a", "one"), custom(gadgets, "", "one")); err != nil {
		t.Fatal(err)
	}
	send := true
	opts := metav1.ListOptions{
		SendInitialEvents: &send, AllowWatchBookmarks: true,
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	}
	for name, open := range map[string]func() (watch.Interface, error){
		"typed":   func() (watch.Interface, error) { return c.Kubernetes.CoreV1().Pods("").Watch(soon(t), opts) },
		"dynamic": func() (watch.Interface, error) { return c.Dynamic.Resource(gadgets.gvr()).Watch(soon(t), opts) },
		"metadata": func() (watch.Interface, error) {
			return c.Metadata.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Watch(soon(t), opts)
		},
	} {
		w, err := open()
		if err != nil {
			t.Fatal(name, err)
		}
		if e := next(t, w); e.Type != watch.Added {
			t.Error(name, e)
		}
		e := next(t, w)
		if m, ok := e.Object.(metav1.Object); e.Type != watch.Bookmark || !ok || m.GetAnnotations()[metav1.InitialEventsAnnotationKey] != "true" {
			t.Error(name, e)
		}
		w.Stop()
	}
}

func TestFakeExpiryAndDisconnect(t *testing.T) {
	api := NewFakeAPI()
	c := fakeClients(t, api)
	ctx := soon(t)
	pods := c.Kubernetes.CoreV1().Pods("a")
	list, err := pods.List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := api.Add(pod("a", "one")); err != nil {
		t.Fatal(err)
	}
	api.Compact()
	w, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Type != watch.Error || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Error(e)
	}
	w.Stop()
	if _, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: "999"}); !apierrors.IsTimeout(err) {
		t.Error(err)
	}
	if w, err = pods.Watch(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Type != watch.Added {
		t.Error(e)
	}
	api.Disconnect()
	if _, open := <-w.ResultChan(); open {
		t.Error("the watch goes on")
	}
	if err := api.Remove(pod("a", "one")); err != nil {
		t.Fatal(err)
	}
	api.Intercept(func(_ context.Context, r FakeRequest) error {
		if r.Verb == "list" {
			return apierrors.NewForbidden(r.Resource.GroupResource(), "", nil)
		}
		return errors.New("broken") // client-go would try again after an EOF
	})
	if _, err := pods.List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Error(err)
	}
	if _, err := pods.Get(ctx, "one", metav1.GetOptions{}); err == nil || apierrors.ReasonForError(err) != metav1.StatusReasonUnknown {
		t.Error(err)
	}
}

// The same over a connection.
// A watch that has nothing to tell is not taken for dead: it gets bookmarks.
func TestFakeBookmarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := NewFakeAPI()
		if err := api.Add(pod("a", "one")); err != nil {
			t.Fatal(err)
		}
		err := run(t, quiet(), nil, withFake(api), Resource[*corev1.Pod](),
			atStart(t, func(ctx context.Context, r resource.Resource[*corev1.Pod]) error {
				storeOf(t, ctx, r)
				time.Sleep(4 * time.Minute) // of the bubble
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		watches := 0
		for _, r := range api.Requests() {
			if r.Verb == "watch" {
				watches++
			}
		}
		if watches != 1 {
			t.Errorf("%d watches in 4 minutes, want 1", watches)
		}
	})
}

// What no client would send is refused.
func TestFakeBadRequests(t *testing.T) {
	url, _ := serveAPI(t, NewFakeAPI())
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		req, err := http.NewRequestWithContext(t.Context(), method, url+"/api/v1/namespaces/a/pods", strings.NewReader(`{"apiVersion":"v1","kind":"Pod"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s of a collection: %v", method, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s of a collection: %s", method, resp.Status)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestFakeServer(t *testing.T) {
	api := NewFakeAPI()
	server := httptest.NewServer(api)
	defer server.Close()
	defer api.Disconnect()
	c, err := buildClient(&rest.Config{Host: server.URL}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.State.http.CloseIdleConnections()
	ctx := soon(t)
	w, err := c.Kubernetes.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := c.Kubernetes.CoreV1().Pods("a").Create(ctx, pod("a", "one"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, w); e.Type != watch.Added {
		t.Error(e)
	}
	resp, err := http.Get(server.URL + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if _, lists, err := c.Discovery.ServerGroupsAndResources(); err != nil || len(lists) < 10 {
		t.Error(len(lists), err)
	}
}
