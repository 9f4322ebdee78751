// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

func listOf(list runtime.Object) cache.ListerWatcher {
	return &cache.ListWatch{ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
		return list, nil
	}}
}

func watchOf(events ...watch.Event) cache.ListerWatcher {
	return &cache.ListWatch{WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) {
		c := make(chan watch.Event, len(events))
		for _, e := range events {
			c <- e
		}
		close(c)
		return watch.NewProxyWatcher(c), nil
	}}
}

func readList[T any](lw cache.ListerWatcher, convert func(runtime.Object) (T, error)) ([]T, informer.Page, error) {
	var all []T
	page, err := source.FromListerWatcher(lw, convert).List(context.Background(), metav1.ListOptions{}, func(i informer.Item[T]) error {
		t, err := i.Decode()
		if err == nil {
			all = append(all, t)
		}
		return err
	})
	return all, page, err
}

// TestItemsAreDetached: an object that is kept does not keep the array of its
// page, in typed and in unstructured lists; items that are pointers are not
// copied.
func TestItemsAreDetached(t *testing.T) {
	pods := &corev1.PodList{Items: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}}}
	got, _, err := readList[*corev1.Pod](listOf(pods), nil)
	if err != nil || len(got) != 2 {
		t.Fatal(got, err)
	}
	for i := range got {
		if got[i] == &pods.Items[i] || got[i].Name != pods.Items[i].Name {
			t.Errorf("item %d lies in its page, or is another", i)
		}
	}
	things := &unstructured.UnstructuredList{Object: map[string]any{}, Items: []unstructured.Unstructured{
		{Object: map[string]any{"kind": "Thing", "apiVersion": "v1", "metadata": map[string]any{"name": "a"}}},
	}}
	loose, _, err := readList[*unstructured.Unstructured](listOf(things), nil)
	if err != nil || len(loose) != 1 || loose[0] == &things.Items[0] || loose[0].GetName() != "a" {
		t.Errorf("%v, %v", loose, err)
	}
	raw := &corev1.List{Items: []runtime.RawExtension{{Object: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}}}
	got, _, err = readList[*corev1.Pod](listOf(raw), nil)
	if err != nil || len(got) != 1 || runtime.Object(got[0]) != raw.Items[0].Object {
		t.Errorf("%v, %v", got, err)
	}
}

// badMeta panics when it is asked anything.
type badMeta struct{ *corev1.Pod }

// TestBadObjects: objects that make no sense are decoding errors, not panics.
func TestBadObjects(t *testing.T) {
	named := func(name string) *corev1.Pod { return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}} }
	for name, lw := range map[string]cache.ListerWatcher{
		"nil list":        listOf(nil),
		"nil *PodList":    listOf((*corev1.PodList)(nil)),
		"not a list":      listOf(named("a")),
		"table":           listOf(&metav1.Table{}),
		"raw table":       listOf(&unstructured.UnstructuredList{Object: map[string]any{"kind": "Table", "apiVersion": "meta.k8s.io/v1"}}),
		"empty, services": listOf(&corev1.ServiceList{}),
		"raw nil":         listOf(&corev1.List{Items: []runtime.RawExtension{{}}}),
		"raw service":     listOf(&corev1.List{Items: []runtime.RawExtension{{Object: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}}}),
		"no name":         listOf(&corev1.PodList{Items: make([]corev1.Pod, 1)}),
	} {
		pods, _, err := readList[*corev1.Pod](lw, nil)
		if informer.CauseOf(err) != informer.CauseDecoding || len(pods) > 0 {
			t.Errorf("%s: %v, %v", name, pods, err)
		}
	}
	for name, e := range map[string]watch.Event{
		"nil object":       {Type: watch.Deleted},
		"nil *Pod":         {Type: watch.Deleted, Object: (*corev1.Pod)(nil)},
		"panicking":        {Type: watch.Deleted, Object: badMeta{}},
		"service":          {Type: watch.Deleted, Object: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}}},
		"status":           {Type: watch.Deleted, Object: &metav1.Status{}},
		"table":            {Type: watch.Added, Object: &metav1.Table{}},
		"no name":          {Type: watch.Deleted, Object: named("")},
		"unknown type":     {Type: "Exploded", Object: named("a")},
		"no type":          {Object: named("a")},
		"nil bookmark":     {Type: watch.Bookmark},
		"nil Pod bookmark": {Type: watch.Bookmark, Object: (*corev1.Pod)(nil)},
		"nil error":        {Type: watch.Error},
		"nil status":       {Type: watch.Error, Object: (*metav1.Status)(nil)},
		"error of a pod":   {Type: watch.Error, Object: named("a")},
	} {
		stream, err := source.FromListerWatcher[*corev1.Pod](watchOf(e), nil).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Next()
		if informer.CauseOf(err) != informer.CauseDecoding {
			t.Errorf("%s: %v", name, err)
		}
		stream.Stop()
	}
}

// An event without a name is one of an object that cannot be decoded, unless it is a deletion.
func TestEventWithoutName(t *testing.T) {
	stream, err := source.FromListerWatcher[*corev1.Pod](watchOf(watch.Event{Type: watch.Added, Object: &corev1.Pod{}}), nil).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	e, err := stream.Next()
	if err != nil || e.Item.Meta() != (store.Meta{}) {
		t.Fatal(e, err)
	}
	if _, err := e.Item.Decode(); informer.CauseOf(err) != informer.CauseDecoding {
		t.Error(err)
	}
}

// TestConvert: what convert does wrong is an error of the object.
func TestConvert(t *testing.T) {
	pods := listOf(&corev1.PodList{Items: []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "ns", ResourceVersion: "7"}}}})
	names, page, err := readList(pods, func(o runtime.Object) (string, error) { return o.(*corev1.Pod).Name, nil })
	if err != nil || len(names) != 1 || names[0] != "a" || page.Remaining != -1 {
		t.Errorf("%v, %+v, %v", names, page, err)
	}
	for name, convert := range map[string]func(runtime.Object) (string, error){
		"error": func(runtime.Object) (string, error) { return "", errors.New("bad") },
		"panic": func(o runtime.Object) (string, error) { return o.(*corev1.Service).Name, nil },
	} {
		_, _, err := readList(pods, convert)
		var decoding *informer.DecodingError
		if !errors.As(err, &decoding) || decoding.Meta.String() != "ns/a@7" {
			t.Errorf("%s: %v", name, err)
		}
		var panicked *store.PanicError
		if errors.As(err, &panicked) != (name == "panic") || panicked != nil && (panicked.Key != decoding.Meta.Key || panicked.Function != "transform") {
			t.Errorf("%s: %+v", name, panicked)
		}
	}
	if _, _, err := readList[*corev1.Pod](nil, nil); err == nil {
		t.Error("no ListerWatcher is no error")
	}
}

// brokenLister says how it was made wrongly, and has no methods with a context.
type brokenLister struct {
	cache.Lister
	cache.Watcher
}

func (brokenLister) Validate() error { return errors.New("it is broken") }

// What a ListerWatcher says of itself is heard, also if it needs a wrapper.
func TestListerWatcherIsValidated(t *testing.T) {
	_, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Source: source.FromListerWatcher[*corev1.Pod](brokenLister{}, nil), Sink: informertest.NewChanSink[*corev1.Pod](),
	})
	if err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("got %v", err)
	}
}

// noWatchList is a client that does not stream initial events, and says so.
type noWatchList struct{ cache.Getter }

func (noWatchList) IsWatchListSemanticsUnSupported() bool { return true }

func TestClientWithoutWatchList(t *testing.T) {
	if source.FromListerWatcher[*corev1.Pod](source.NewListWatchFromClient(noWatchList{}, "pods", ""), nil).WatchList() {
		t.Error("initial events are asked for")
	}
}

// TestStatusEvents: an error in the stream is recognised as what it is.
func TestStatusEvents(t *testing.T) {
	status := apierrors.NewResourceExpired("too old").Status()
	stream, err := source.FromListerWatcher[*corev1.Pod](watchOf(watch.Event{Type: watch.Error, Object: &status}), nil).
		Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	if _, err := stream.Next(); !apierrors.IsResourceExpired(err) {
		t.Errorf("%v", err)
	}
	if _, err := stream.Next(); err == nil || err == io.EOF {
		t.Errorf("after an error: %v", err)
	}
}

func TestCauseOf(t *testing.T) {
	for _, c := range []struct {
		want informer.Cause
		err  error
	}{
		{informer.CauseNone, nil},
		{informer.CauseCanceled, context.Canceled},
		{informer.CauseCanceled, &url.Error{Op: "Get", Err: context.Canceled}},
		{informer.CauseTimeout, context.DeadlineExceeded},
		{informer.CauseForbidden, informertest.ParseError([]string{"403"})},
		{informer.CauseUnauthorized, apierrors.NewUnauthorized("who?")},
		{informer.CauseNotInstalled, informertest.ParseError([]string{"404"})},
		{informer.CauseNotInstalled, &meta.NoKindMatchError{GroupKind: schema.GroupKind{Kind: "Thing"}}},
		{informer.CauseNotInstalled, &meta.NoResourceMatchError{}},
		{informer.CauseRefused, informertest.ParseError([]string{"refused"})},
		{informer.CauseConnection, informertest.ParseError([]string{"reset"})},
		{informer.CauseConnection, io.ErrUnexpectedEOF},
		{informer.CauseConnection, &net.DNSError{Name: "server", IsTimeout: true}},
		{informer.CauseConnection, &url.Error{Op: "Get", Err: errors.New("http: server gave HTTP response to HTTPS client")}},
		{informer.CauseConnection, decodeStatus("http2: client connection lost")},
		{informer.CauseConnection, decodeStatus("stream error: stream ID 3; INTERNAL_ERROR")},
		{informer.CauseDecoding, decodeStatus("json: cannot unmarshal string")},
		{informer.CauseNotAPIServer, informer.NewAnswerError(200, "", nil)},
		{informer.CauseNotAPIServer, runtime.NegotiateError{ContentType: "text/html", Stream: true}},
		{informer.CauseDecoding, runtime.NegotiateError{ContentType: "application/json"}},
		{informer.CauseCredentials, noCredentials("getting credentials: exec: executable aws failed with exit code 254")},
		{informer.CauseCredentials, noCredentials("getting credentials: decoding stdout: couldn't get version/kind; json parse error")},
		{informer.CauseCredentials, noCredentials(`failed to read token file "/var/run/secrets/token": no such file`)},
		{informer.CauseSilent, &informer.SilenceError{}},
		{informer.CauseTimeout, apierrors.NewTimeoutError("slow", 1)},
		{informer.CauseTimeout, apierrors.NewServerTimeout(schema.GroupResource{}, "list", 1)},
		{informer.CauseThrottled, informertest.ParseError([]string{"429"})},
		{informer.CauseExpired, informertest.ParseError([]string{"410"})},
		{informer.CauseExpired, &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonGone, Code: 410}}},
		{informer.CauseExpired, informertest.ParseError([]string{"toolarge"})},
		{informer.CauseExpired, apierrors.NewTimeoutError("Too large resource version: 5, current: 3", 1)},
		{informer.CauseServer, informertest.ParseError([]string{"500"})},
		{informer.CauseServer, apierrors.NewServiceUnavailable("later")},
		{informer.CauseServer, errors.New("unable to retrieve the complete list of server APIs: v1: gone")},
		{informer.CauseNotSupported, informertest.ParseError([]string{"405"})},
		{informer.CauseNotSupported, &apierrors.StatusError{ErrStatus: metav1.Status{Code: 405}}},
		{informer.CauseRejected, informertest.ParseError([]string{"400"})},
		{informer.CauseRejected, informertest.ParseError([]string{"422"})},
		{informer.CauseDecoding, &informer.DecodingError{Err: context.Canceled}},
		{informer.CauseSink, &informer.SinkError{Call: "Apply", Err: informertest.ParseError([]string{"410"})}},
		{informer.CauseSink, &informer.SinkError{Call: "Commit", Err: apierrors.NewServiceUnavailable("the consumer is down")}},
		{informer.CauseSink, &informer.HandlerError{Call: "OnAdd", Err: informertest.ParseError([]string{"refused"})}},
		{informer.CauseSink, &informer.HandlerError{Call: "OnAdd", Err: noCredentials("getting credentials: exec: executable aws not found")}},
		{informer.CauseSink, store.ErrResync},
		{informer.CauseSink, &store.FullError{}},
		{informer.CauseUnknown, errors.New("hm")},
		{informer.CauseUnknown, &apierrors.StatusError{}},
	} {
		if got := informer.CauseOf(c.err); got != c.want {
			t.Errorf("CauseOf(%v) = %q, want %q", c.err, got, c.want)
		}
		if c.err == nil {
			continue
		}
		if got := informer.CauseOf(fmt.Errorf("a: %w", fmt.Errorf("b: %w", c.err))); got != c.want {
			t.Errorf("CauseOf(wrapped %v) = %q, want %q", c.err, got, c.want)
		}
		if text := informer.Explain(c.err); !strings.HasPrefix(text, c.err.Error()) || (c.want.Advice() != "") != (text != c.err.Error()) {
			t.Errorf("Explain(%v) = %q", c.err, text)
		}
	}
	if informer.Explain(nil) != "" {
		t.Error("Explain(nil) says something")
	}
}

// noCredentials is what client-go makes of credentials that it does not get.
func noCredentials(text string) error {
	return &url.Error{Op: "Get", URL: "https://example.com/api/v1/pods", Err: errors.New(text)}
}

// decodeStatus is what client-go makes of an error in the body of a watch.
func decodeStatus(text string) error {
	status := apierrors.NewClientErrorReporter(500, "GET", "ClientWatchDecoding").AsObject(
		fmt.Errorf("unable to decode an event from the watch stream: %s", text))
	return apierrors.FromObject(status)
}

// listedVersions lists through FromListerWatcher, and decodes nothing.
func listedVersions(t *testing.T, lw cache.ListerWatcher) map[string]string {
	t.Helper()
	versions := map[string]string{}
	_, err := source.FromListerWatcher(lw, func(runtime.Object) (int, error) {
		return 0, errors.New("decoded")
	}).List(context.Background(), metav1.ListOptions{}, func(i informer.Item[int]) error {
		versions[i.Meta().Key.Name] = i.Meta().Version
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

// unspeakable has no JSON.
type unspeakable struct{ *corev1.Pod }

func (unspeakable) MarshalJSON() ([]byte, error) { panic("no") }

// TestVersionsFromContent: an object of a list that has no version has that of its
// content in its Meta, one that has keeps it, and nothing is written into either.
func TestVersionsFromContent(t *testing.T) {
	pods := &corev1.PodList{Items: []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b", ResourceVersion: "7"}},
	}}
	want, err := store.ContentVersion(&pods.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	before := listedVersions(t, listOf(pods))
	if before["a"] != want || before["b"] != "7" {
		t.Errorf("versions %v, want %q", before, want)
	}
	if pods.Items[0].ResourceVersion != "" {
		t.Error("the object was given a version")
	}
	if again := listedVersions(t, listOf(pods)); again["a"] != want {
		t.Errorf("%q is now %q", want, again["a"])
	}
	pods.Items[0].Labels = map[string]string{"new": "yes"}
	if after := listedVersions(t, listOf(pods)); after["a"] == want || after["a"] == "" {
		t.Errorf("the version of a changed object is %q", after["a"])
	}
	raw := &corev1.List{Items: []runtime.RawExtension{{Object: unspeakable{&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "c"}}}}}}
	if got := listedVersions(t, listOf(raw)); len(got) != 1 || got["c"] != "" {
		t.Errorf("versions %v of what cannot be encoded", got)
	}
}
