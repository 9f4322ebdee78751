// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// event is an event as a server sends it.
func event(t testing.TB, format, kind string, obj runtime.Object) []byte {
	t.Helper()
	raw := informertest.Encode(t, format, obj)
	e := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: raw}}
	if format == runtime.ContentTypeJSON {
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return append(data, '\n')
	}
	data, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

// answers serves a list and a watch. They can be damaged, unlike those of fakeapi.
type answers struct {
	format      string
	list, watch []byte
}

func (a answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("watch") == "" {
		w.Header().Set("Content-Type", a.format)
		_, _ = w.Write(a.list)
		return
	}
	w.Header().Set("Content-Type", a.format+";stream=watch")
	_, _ = w.Write(a.watch)
}

func (a answers) listWatch(t testing.TB) *source.ListWatch { return listWatchOf(t, a.format, a) }

// listWatchOf reads what a server answers.
func listWatchOf(t testing.TB, format string, answers http.Handler) *source.ListWatch {
	t.Helper()
	s := httptest.NewServer(answers)
	t.Cleanup(s.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	c, err := rest.RESTClientForConfigAndClient(&rest.Config{
		Host: s.URL, APIPath: "/api", QPS: -1,
		ContentConfig: rest.ContentConfig{
			ContentType: format, AcceptContentTypes: format, GroupVersion: &corev1.SchemeGroupVersion,
			NegotiatedSerializer: serializer.NewCodecFactory(clientscheme.Scheme).WithoutConversion(),
		},
	}, client)
	if err != nil {
		t.Fatal(err)
	}
	return source.NewListWatchFromClient(c, "pods", "")
}

var formats = []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON}

// listedBy reads a list with a source.
func listedBy[T any](t testing.TB, s informer.Source[T]) ([]T, informer.Page, error) {
	t.Helper()
	var all []T
	page, err := s.List(context.Background(), metav1.ListOptions{}, func(i informer.Item[T]) error {
		obj, err := i.Decode()
		all = append(all, obj)
		return err
	})
	return all, page, err
}

// What is read from a stream is what client-go's client makes of it.
func TestWireList(t *testing.T) {
	for _, format := range formats {
		for _, n := range []int{0, 1, 1000} {
			lw := answers{format: format, list: informertest.Encode(t, format, informertest.WirePods(n))}.listWatch(t)
			got, page, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil))
			if err != nil {
				t.Fatal(err)
			}
			want, wantPage, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](informertest.Hidden{ListerWatcherWithContext: lw}, nil))
			if err != nil {
				t.Fatal(err)
			}
			page.Kind, page.Form = "", "" // typed clients do not say them
			if page != wantPage || len(got) != n || !apiequality.Semantic.DeepEqual(got, want) {
				t.Errorf("%s, %d: got %v with %d, want %v with %d", format, n, page, len(got), wantPage, len(want))
			}
		}
	}
}

func TestWireWatch(t *testing.T) {
	pod := &informertest.WirePods(1).Items[0]
	bookmark := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	for _, format := range formats {
		var body []byte
		body = append(body, event(t, format, "ADDED", pod)...)
		body = append(body, event(t, format, "BOOKMARK", bookmark)...)
		body = append(body, event(t, format, "DELETED", pod)...)
		ended := append(body, event(t, format, "ERROR", &apierrors.NewResourceExpired("too old").ErrStatus)...)
		for _, a := range []answers{{format: format, watch: body}, {format: format, watch: ended}} {
			stream, err := source.FromListerWatcher[*corev1.Pod](a.listWatch(t), nil).Watch(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				e, err := stream.Next()
				if err != nil {
					got = append(got, fmt.Sprint(apierrors.IsResourceExpired(err), err == io.EOF))
					break
				}
				text := fmt.Sprint(e.Type, " ", e.Version, " ", e.InitialEventsEnd)
				if e.Item != nil {
					obj, err := e.Item.Decode()
					if err != nil || !apiequality.Semantic.DeepEqual(obj, pod) {
						t.Errorf("got %v, %v", obj, err)
					}
					text += " " + e.Item.Meta().String()
				}
				got = append(got, text)
			}
			stream.Stop()
			item := "1 false " + store.Meta{Key: store.Key{Namespace: "shop", Name: "web-0"}, UID: "u", Version: "1"}.String()
			want := []string{"ADDED " + item, "BOOKMARK 9 true", "DELETED " + item, fmt.Sprint(len(a.watch) > len(body), len(a.watch) == len(body))}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", format, got, want)
			}
		}
	}
}

// What is not what was asked for is an error, an empty list of something else above all.
func TestWireOther(t *testing.T) {
	table := []byte(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"rows":[]}`)
	for _, format := range formats {
		for name, list := range map[string][]byte{
			"services": informertest.Encode(t, format, &corev1.ServiceList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}}),
			"a pod":    informertest.Encode(t, format, &corev1.Pod{}),
			"a status": informertest.Encode(t, format, &metav1.Status{}),
			"a table":  table,
			"nothing":  nil,
			"half":     informertest.Encode(t, format, informertest.WirePods(3))[:500],
			"no names": informertest.Encode(t, format, &corev1.PodList{Items: make([]corev1.Pod, 1)}),
		} {
			pods, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](answers{format: format, list: list}.listWatch(t), nil))
			if err == nil {
				t.Errorf("%s, %s: %d pods and no error", format, name, len(pods))
			}
			if cut := errors.Is(err, io.ErrUnexpectedEOF); cut != (name == "half") {
				t.Errorf("%s, %s: %v", format, name, err)
			} else if cause := informer.CauseOf(err); !cut && (cause == informer.CauseNotAPIServer) != (name == "nothing") && cause != informer.CauseDecoding {
				t.Errorf("%s, %s: %v is %v", format, name, err, cause)
			}
		}
	}
}

// Replaced functions are called.
func TestWireReplaced(t *testing.T) {
	a := answers{format: runtime.ContentTypeJSON, list: informertest.Encode(t, runtime.ContentTypeJSON, informertest.WirePods(3))}
	lw, other := a.listWatch(t), a.listWatch(t)
	lw.ListFunc = func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		return informertest.WirePods(1), nil
	}
	if pods, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil)); len(pods) != 1 || err != nil {
		t.Errorf("%d pods, %v", len(pods), err)
	}
	lw.ListFunc = other.ListFunc // of the same code, for another server
	if pods, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil)); len(pods) != 3 || err != nil {
		t.Errorf("%d pods, %v", len(pods), err)
	}
}

// Of unstructured objects the list says of which kind they are, unless they do.
func TestWireUnstructured(t *testing.T) {
	for _, list := range []string{
		`{"kind":"WidgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a"},"spec":{"n":1,"f":1.5}}]}`,
		`{"apiVersion":"example.org/v1","items":[{"apiVersion":"example.org/v1","kind":"Widget","metadata":{"name":"a"},"spec":{"n":1,"f":1.5}}],"kind":"WidgetList","metadata":{"resourceVersion":"5"}}`,
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(list)}.listWatch(t)
		got, page, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil))
		if err != nil || page.Version != "5" || page.Remaining != -1 {
			t.Fatalf("%+v, %v", page, err)
		}
		want := map[string]any{"apiVersion": "example.org/v1", "kind": "Widget", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"n": int64(1), "f": 1.5}}
		if len(got) != 1 || !reflect.DeepEqual(got[0].Object, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// Only the fields that were asked for are there, whatever the objects come by.
func TestWithFields(t *testing.T) {
	names := []string{"metadata.labels", "spec.containers.image", "status.podIP", "metadata.annotations[i]"}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-0", UID: "u", ResourceVersion: "1",
			Labels: map[string]string{"app": "web", "tier": "front"}, Annotations: map[string]string{"i": "0"},
		},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Image: "registry.example.com/web:1"}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.0"},
	}
	for _, format := range formats {
		lw := answers{format: format, list: informertest.Encode(t, format, informertest.WirePods(2))}.listWatch(t)
		for name, source := range map[string]informer.Source[*corev1.Pod]{
			"stream":     source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithFields(names[:2]...), source.WithFields(names[2:]...)),
			"not":        source.FromListerWatcher[*corev1.Pod](informertest.Hidden{ListerWatcherWithContext: lw}, nil, source.WithFields(names...)),
			"unshared":   source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithFields(names...), source.WithoutSharing()),
			"converting": source.FromListerWatcher(lw, func(obj runtime.Object) (*corev1.Pod, error) { return obj.(*corev1.Pod), nil }, source.WithFields(names...)),
		} {
			got, _, err := listedBy(t, source)
			if err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], want) {
				t.Errorf("%s, %s: got %v, %v; want %v", format, name, got, err, want)
			}
		}
		none, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithFields()))
		if err != nil || none[0].Name != "web-0" || none[0].Labels != nil {
			t.Errorf("%s, no fields: %v, %v", format, none, err)
		}
	}
}

// What is wrong with the options is an error of the construction.
func TestSourceOptionErrors(t *testing.T) {
	lw := answers{format: runtime.ContentTypeJSON}.listWatch(t)
	for want, opts := range map[string][]source.SourceOption{
		`"spec.nodeNam"`:        {source.WithFields("spec.nodeNam")},
		`"spec..nodeName"`:      {source.WithFields("spec..nodeName")},
		`"metadata.name.first"`: {source.WithFields("metadata.labels", "metadata.name.first")},
		"WithObjectLimit(0)":    {source.WithObjectLimit(0)},
		`"metadata.labels[app"`: {source.WithFields("metadata.labels[app")},
		`"status.conditions.0"`: {source.WithFields("status.conditions[0]")},
		"leave out one of them": {source.WithoutSharing(), source.WithSharing()},
	} {
		for name, lw := range map[string]cache.ListerWatcher{"stream": lw, "not": informertest.Hidden{ListerWatcherWithContext: lw}} {
			_, err := informer.NewReflector(informer.Config[*corev1.Pod]{
				Source: source.FromListerWatcher[*corev1.Pod](lw, nil, opts...), Sink: informertest.NewChanSink[*corev1.Pod](),
			})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v", want, name, err)
			}
		}
	}
}

// An object that is larger than the limit cannot be decoded. The error says so.
func TestWithObjectLimit(t *testing.T) {
	for _, format := range formats {
		lw := answers{format: format, list: informertest.Encode(t, format, informertest.WirePods(2)), watch: event(t, format, "ADDED", &informertest.WirePods(1).Items[0])}.listWatch(t)
		source := source.FromListerWatcher[*corev1.Pod](lw, nil, source.WithObjectLimit(50))
		if _, _, err := listedBy(t, source); informer.CauseOf(err) != informer.CauseDecoding || !strings.Contains(err.Error(), "50") {
			t.Errorf("%s: %v", format, err)
		}
		stream, err := source.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		e, err := stream.Next()
		if err != nil || e.Item.Meta().Key.Name == "" {
			t.Fatalf("%s: %+v, %v", format, e, err)
		}
		if _, err := e.Item.Decode(); informer.CauseOf(err) != informer.CauseDecoding || !strings.Contains(err.Error(), "50") {
			t.Errorf("%s: %v", format, err)
		}
		stream.Stop()
	}
}

// sameIf is a conversion to the same object, nil if there is to be none.
func sameIf[T runtime.Object](convert bool) func(runtime.Object) (T, error) {
	if !convert {
		return nil
	}
	return func(obj runtime.Object) (T, error) { return obj.(T), nil }
}

// What is equal in objects is in memory once, unless that is not wanted, or somebody
// converts who may modify them.
func TestSharing(t *testing.T) {
	type parts struct{ containers, labels, annotations uintptr }
	of := func(containers, labels, annotations any) parts {
		at := func(v any) uintptr { return reflect.ValueOf(v).Pointer() }
		return parts{at(containers), at(labels), at(annotations)}
	}
	typed := func(lw cache.ListerWatcher, convert bool, opts ...source.SourceOption) (all []parts) {
		pods, _, err := listedBy(t, source.FromListerWatcher(lw, sameIf[*corev1.Pod](convert), opts...))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			all = append(all, of(p.Spec.Containers, p.Labels, p.Annotations))
		}
		return all
	}
	untyped := func(lw cache.ListerWatcher, convert bool, opts ...source.SourceOption) (all []parts) {
		pods, _, err := listedBy(t, source.FromListerWatcher(lw, sameIf[*unstructured.Unstructured](convert), opts...))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pods {
			spec, meta := p.Object["spec"].(map[string]any), p.Object["metadata"].(map[string]any)
			all = append(all, of(spec["containers"], meta["labels"], meta["annotations"]))
		}
		return all
	}
	for name, test := range map[string]struct {
		format string
		sent   runtime.Object
		read   func(cache.ListerWatcher, bool, ...source.SourceOption) []parts
	}{
		"protobuf":     {runtime.ContentTypeProtobuf, &corev1.Pod{}, typed},
		"JSON":         {runtime.ContentTypeJSON, &corev1.Pod{}, typed},
		"unstructured": {runtime.ContentTypeJSON, &unstructured.Unstructured{}, untyped},
	} {
		lw := answers{format: test.format, list: informertest.Encode(t, test.format, informertest.WirePods(10))}.listWatch(t)
		sent := source.WithObjectType(test.sent)
		for _, how := range []struct {
			convert, shared bool
			opts            []source.SourceOption
		}{
			{false, true, nil},
			{false, true, []source.SourceOption{source.WithSharing()}},
			{false, false, []source.SourceOption{source.WithoutSharing()}},
			{true, false, []source.SourceOption{sent}},
			{true, true, []source.SourceOption{sent, source.WithSharing()}},
			{true, false, []source.SourceOption{sent, source.WithoutSharing()}},
		} {
			all := test.read(lw, how.convert, how.opts...)
			a, b := all[8], all[9]
			if same := a.containers == b.containers; same != how.shared {
				t.Errorf("%s, %+v: the same containers %v", name, how, same)
			}
			if same := a.labels == b.labels; same != how.shared {
				t.Errorf("%s, %+v: the same labels %v", name, how, same)
			}
			if a.annotations == b.annotations {
				t.Errorf("%s: what differs is the same", name)
			}
		}
	}
}
