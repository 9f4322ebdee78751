// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/status"
)

// With streams nothing is listed or watched by another client, metadata comes as such, in
// protobuf, and what no rule reads does not come along.
func TestStatusReadsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, other := fakeapi.New(), fakeapi.New()
		clients, others := fakeClients(t, api), fakeClients(t, other)
		secret := &corev1.Secret{ObjectMeta: metaOf("a", "token", 0), Data: map[string][]byte{"x": []byte("y")}}
		pod := podIn(corev1.PodRunning, "a", "one", 0)
		for _, m := range []*metav1.ObjectMeta{&secret.ObjectMeta, &pod.ObjectMeta} {
			m.Labels, m.Annotations = map[string]string{"l": "m"}, map[string]string{"a": "b"}
		}
		pod.Spec.NodeName, pod.Spec.SchedulerName, pod.Status.PodIP = "node", "scheduler", "10.0.0.1"
		if err := api.Add(secret, pod); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var asked []string
		stream := func(ctx context.Context, resource schema.GroupVersionResource, namespace string, metadataOnly bool, opts metav1.ListOptions) (io.ReadCloser, error) {
			mu.Lock()
			asked = append(asked, fmt.Sprintf("%s in %s %v %s", resource.Resource, namespace, metadataOnly, opts.FieldSelector))
			mu.Unlock()
			return clients.State.stream(ctx, resource, namespace, metadataOnly, opts)
		}
		engine, stop := statusEngine(t, clients, status.Config{Dynamic: others.Dynamic, Stream: stream})
		defer stop()
		r := &statusRig{T: t, api: api, engine: engine}
		w := r.watch(idOf("Pod", "a", "one"), idOf("Secret", "a", "token"))
		r.is(w, "one Current", "token Current")
		pod.Status.Conditions, pod.Status.Phase = nil, corev1.PodPending
		r.update(pod)
		r.is(w, "one InProgress", "token Current")

		mu.Lock()
		defer mu.Unlock()
		for _, want := range []string{"pods in a false metadata.name=one", "secrets in a true metadata.name=token"} {
			if !slices.Contains(asked, want) {
				t.Errorf("asked for %q, want %q among it", asked, want)
			}
		}
		if others := other.Requests(); len(others) != 0 {
			t.Errorf("the other clients requested %v", others)
		}
		for _, req := range api.Requests() {
			if metadata := "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata"; req.Verb != "" &&
				strings.HasPrefix(req.Accept, metadata) != (req.Resource.Resource == "secrets") {
				t.Errorf("%s %s accepts %q", req.Verb, req.Resource.Resource, req.Accept)
			}
		}
		all := w.Statuses()
		for _, s := range all {
			if o := s.Object; o.GetLabels()["l"] != "m" || o.GetAnnotations() != nil || o.GetKind() != s.ID.GroupKind.Kind || o.Object["data"] != nil {
				t.Errorf("kept is %v", o.Object)
			}
		}
		spec, _ := all[0].Object.Object["spec"].(map[string]any)
		state, _ := all[0].Object.Object["status"].(map[string]any)
		if spec["nodeName"] != "node" || len(spec) != 1 || state["phase"] != "Pending" || state["podIP"] != nil {
			t.Errorf("kept is %v", all[0].Object.Object)
		}
	})
}

// backwards has the members of lists be in the order of the alphabet, so that their kind
// comes behind the items, which do not say theirs. Lists of one kind have another name.
func backwards(stream source.StreamFunc, names map[string]string) source.StreamFunc {
	return func(ctx context.Context, resource schema.GroupVersionResource, namespace string, metadataOnly bool, opts metav1.ListOptions) (io.ReadCloser, error) {
		if opts.SendInitialEvents != nil {
			return nil, apierrors.NewBadRequest("sendInitialEvents: not known")
		}
		body, err := stream(ctx, resource, namespace, metadataOnly, opts)
		if err != nil || opts.Watch {
			return body, err
		}
		defer func() { _ = body.Close() }()
		var list map[string]any
		if err := json.NewDecoder(body).Decode(&list); err != nil {
			return nil, err
		}
		if name := names[resource.Resource]; name != "" {
			list["kind"] = name
		} else {
			for _, item := range list["items"].([]any) {
				delete(item.(map[string]any), "kind")
				delete(item.(map[string]any), "apiVersion")
			}
		}
		var text bytes.Buffer
		if err := json.NewEncoder(&text).Encode(list); err != nil {
			return nil, err
		}
		return io.NopCloser(&text), nil
	}
}

// Objects may leave it to a list to say of which kind they are that says so behind them,
// and a list may have the name that the definition of a custom resource gives it.
func TestStatusKindBehindItems(t *testing.T) {
	for _, names := range []map[string]string{nil, {"widgets": "BunchOfWidgetsList"}} {
		synctest.Test(t, func(t *testing.T) {
			api := fakeapi.New(widgets)
			clients := fakeClients(t, api)
			if err := api.Add(custom(widgets, "a", "one")); err != nil {
				t.Fatal(err)
			}
			engine, stop := statusEngine(t, clients, status.Config{Dynamic: clients.Dynamic, Stream: backwards(clients.State.stream, names)})
			defer stop()
			r := &statusRig{T: t, api: api, engine: engine}
			w := r.watch(idOf("example.com/Widget", "a", "one"))
			r.is(w, "one Current")
			if got := w.Statuses()[0].Object.GetKind(); got != "Widget" {
				t.Errorf("the kind is %q", got)
			}
		})
	}
}

// So it is with a resource of unstructured objects.
func TestUnstructuredKindBehindItems(t *testing.T) {
	for _, name := range []string{"Widget.v1.example.com", "Widget.example.com", "Widget.v1.example.com of a bunch", "widgets.v1.example.com of a bunch"} {
		synctest.Test(t, func(t *testing.T) {
			api := fakeapi.New(widgets)
			clients := fakeClients(t, api)
			if err := api.Add(custom(widgets, "a", "one")); err != nil {
				t.Fatal(err)
			}
			name, names := name, map[string]string(nil)
			if kind, ok := strings.CutSuffix(name, " of a bunch"); ok {
				name, names = kind, map[string]string{"widgets": "BunchOfWidgetsList"}
			}
			clients.State.stream = backwards(clients.State.stream, names)
			p, err := gather([]Option{Unstructured(name)}).scope(unstructuredType)
			if err != nil {
				t.Fatal(err)
			}
			source := source.FromListerWatcher[*unstructured.Unstructured](&listWatch{scope: p, client: clients.State}, nil)
			n := 0
			if _, err := source.List(t.Context(), metav1.ListOptions{}, func(item informer.Item[*unstructured.Unstructured]) error {
				u, err := item.Decode()
				if n++; err == nil && u.GroupVersionKind() != widgets.GVK() {
					t.Errorf("%s: %v", name, u.GroupVersionKind())
				}
				return err
			}); err != nil || n != 1 {
				t.Errorf("%s, %v: %d objects, %v", name, names, n, err)
			}
		})
	}
}

// An error of a server is to a stream what it is to the other clients.
func TestStreamErrors(t *testing.T) {
	pods, none := schema.GroupVersionResource{Version: "v1", Resource: "pods"}, schema.GroupVersionResource{Group: "none", Version: "v1", Resource: "nones"}
	kind := pods.GroupResource()
	for _, test := range []struct {
		resource schema.GroupVersionResource
		err      error
		want     informer.Cause
	}{
		{none, nil, informer.CauseNotInstalled},
		{pods, apierrors.NewForbidden(kind, "", nil), informer.CauseForbidden},
		{pods, apierrors.NewUnauthorized("who"), informer.CauseUnauthorized},
		{pods, apierrors.NewNotFound(kind, ""), informer.CauseNotInstalled},
		{pods, apierrors.NewBadRequest("field label not supported: spec.none"), informer.CauseRejected},
		{pods, apierrors.NewMethodNotSupported(kind, "list"), informer.CauseNotSupported},
		{pods, apierrors.NewResourceExpired("too old"), informer.CauseExpired},
		{pods, apierrors.NewInternalError(io.ErrUnexpectedEOF), informer.CauseServer},
		{pods, apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "list", kind, "", "later", 0, true), informer.CauseServer},
	} {
		api := fakeapi.New()
		c := fakeClients(t, api)
		api.Intercept(func(context.Context, fakeapi.Request) error { return test.err })
		for _, watch := range []bool{false, true} {
			for _, metadataOnly := range []bool{false, true} {
				opts := metav1.ListOptions{Watch: watch}
				_, err := c.State.stream(t.Context(), test.resource, "a", metadataOnly, opts)
				if cause := informer.CauseOf(err); cause != test.want {
					t.Errorf("watch %v, metadata %v: %v is %q, want %q", watch, metadataOnly, err, cause, test.want)
				}
				if other := errorOf(t, c, test.resource, metadataOnly, opts); informer.CauseOf(other) != test.want {
					t.Errorf("watch %v, metadata %v: the client has %v, the stream %v", watch, metadataOnly, other, err)
				}
			}
		}
	}
}

// errorOf is what the dynamic or the metadata client says.
func errorOf(t *testing.T, c clientOut, resource schema.GroupVersionResource, metadataOnly bool, opts metav1.ListOptions) (err error) {
	objects, metadata := c.Dynamic.Resource(resource).Namespace("a"), c.Metadata.Resource(resource).Namespace("a")
	switch {
	case opts.Watch && metadataOnly:
		_, err = metadata.Watch(t.Context(), opts)
	case opts.Watch:
		_, err = objects.Watch(t.Context(), opts)
	case metadataOnly:
		_, err = metadata.List(t.Context(), opts)
	default:
		_, err = objects.List(t.Context(), opts)
	}
	return err
}
