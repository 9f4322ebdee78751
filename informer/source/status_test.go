// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// A Status where a list or a watch should be, answered as if all were well, is the error
// that it tells.
func TestStatusForList(t *testing.T) {
	gr := schema.GroupResource{Resource: "pods"}
	for cause, e := range map[informer.Cause]*apierrors.StatusError{
		informer.CauseForbidden:    apierrors.NewForbidden(gr, "", errors.New("no role")),
		informer.CauseExpired:      apierrors.NewResourceExpired("too old"),
		informer.CauseThrottled:    apierrors.NewTooManyRequests("later", 7),
		informer.CauseUnauthorized: apierrors.NewUnauthorized("who is it"),
		informer.CauseNotInstalled: apierrors.NewNotFound(gr, ""),
	} {
		for _, format := range formats {
			source := source.FromListerWatcher[*corev1.Pod](answers{format: format, list: informertest.Encode(t, format, &e.ErrStatus)}.listWatch(t), nil)
			isFailure(t, source, cause, e)
		}
		var backwards map[string]any // as members in the order of the alphabet are: the kind is not the first
		if err := json.Unmarshal(informertest.Encode(t, runtime.ContentTypeJSON, &e.ErrStatus), &backwards); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(backwards)
		if err != nil {
			t.Fatal(err)
		}
		lw := answers{format: runtime.ContentTypeJSON, list: sorted, watch: sorted}.listWatch(t)
		isFailure(t, source.FromListerWatcher[*corev1.Pod](lw, nil), cause, e)
		isFailure(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil), cause, e)
		stream, err := source.FromListerWatcher[*corev1.Pod](lw, nil).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Next(); informer.CauseOf(err) != cause || !isStatus(err, e) {
			t.Errorf("watch: %v is %v, want %v", err, informer.CauseOf(err), cause)
		}
		stream.Stop()
	}
}

// isFailure has the source list, and checks that it fails with want.
func isFailure[T any](t *testing.T, source informer.Source[T], cause informer.Cause, want *apierrors.StatusError) {
	t.Helper()
	if _, _, err := listedBy(t, source); informer.CauseOf(err) != cause || !isStatus(err, want) {
		t.Errorf("list: %v is %v, want %v", err, informer.CauseOf(err), cause)
	}
}

func isStatus(err error, want *apierrors.StatusError) bool {
	var got *apierrors.StatusError
	return errors.As(err, &got) && apiequality.Semantic.DeepEqual(got.ErrStatus.Details, want.ErrStatus.Details) &&
		got.ErrStatus.Message == want.ErrStatus.Message && got.ErrStatus.Reason == want.ErrStatus.Reason && got.ErrStatus.Code == want.ErrStatus.Code
}

// A page that is a Status which says that the token expired is followed by another pass,
// at once, and what was read stays.
func TestStatusForPage(t *testing.T) {
	for _, format := range formats {
		synctest.Test(t, func(t *testing.T) {
			first := informertest.WirePods(4)
			first.Continue = "token"
			left := [][]byte{
				informertest.Encode(t, format, first),
				informertest.Encode(t, format, &apierrors.NewResourceExpired("too old").ErrStatus),
				informertest.Encode(t, format, informertest.WirePods(6)),
			}
			s, err := store.New(store.Config[*corev1.Pod]{})
			if err != nil {
				t.Fatal(err)
			}
			var aborted []informer.Cause
			r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
				Source: source.FromListerWatcher[*corev1.Pod](informertest.Bodies{Left: &left}, nil), Sink: s, Settings: informer.Settings{Lists: informer.ListPaged},
				Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
					if failed, ok := o.(informer.ListFailed); ok {
						aborted = append(aborted, informer.CauseOf(failed.Err))
					}
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- r.Run(ctx) }()
			synctest.Wait()
			if got := s.Stats(); got.Objects != 6 || got.Commits != 1 || got.Aborts != 1 || !slices.Equal(aborted, []informer.Cause{informer.CauseExpired}) {
				t.Errorf("%s: %+v, aborted because %v", format, got, aborted)
			}
			cancel()
			<-ended
		})
	}
}

// A Status that tells no failure, or cannot be read, is no list, and no failure.
func TestStatusOfNoFailure(t *testing.T) {
	for name, list := range map[string]string{
		"success":    `{"kind":"Status","apiVersion":"v1","metadata":{"resourceVersion":"5"},"status":"Success"}`,
		"nothing":    `{"kind":"Status","apiVersion":"v1"}`,
		"strange":    `{"kind":"Status","apiVersion":"v1","status":"Failure","code":"403"}`,
		"with items": `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,"items":[]}`,
		"of a pod":   `{"kind":"Pod","apiVersion":"v1","status":"Failure","code":403}`,
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(list), watch: []byte(list)}.listWatch(t)
		source := source.FromListerWatcher[*corev1.Pod](lw, nil)
		if pods, _, err := listedBy(t, source); informer.CauseOf(err) != informer.CauseDecoding {
			t.Errorf("%s: %v, %v", name, pods, err)
		}
		stream, err := source.Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := stream.Next(); informer.CauseOf(err) != informer.CauseDecoding && name != "with items" {
			t.Errorf("%s: watch: %v, %v", name, e, err)
		}
		stream.Stop()
	}
}

// Of a resource of unknown kind anything that is called a list would do, and if it has no
// items it would delete everything. So a list has to say that there are none.
func TestNoItemsOfUnknownKind(t *testing.T) {
	for list, empty := range map[string]bool{
		`{"kind":"WidgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"},"items":[]}`:             true,
		`{"kind":"WidgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"},"items":null}`:           true,
		`{"items":null,"kind":"List","apiVersion":"v1"}`:                                                                true,
		`{"items":[],"kind":"WidgetList","apiVersion":"example.org/v1"}`:                                                true,
		`{"kind":"List","apiVersion":"v1"}`:                                                                             false,
		`{"kind":"WidgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"}}`:                        false,
		`{"kind":"WidgetList","apiVersion":"example.org/v1","status":"Failure","code":403,"message":"no"}`:              false,
		`{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"example.org/v1","resources":[{"name":"widgets"}]}`: false,
		`{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`:                                                         false,
		`{"groups":[],"metadata":{"resourceVersion":"5"},"apiVersion":"v1","kind":"APIGroupList"}`:                      false,
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(list)}.listWatch(t)
		check := func(what string, n int, err error, want bool) {
			t.Helper()
			if n > 0 || (err == nil) != want || err != nil && informer.CauseOf(err) != informer.CauseDecoding {
				t.Errorf("%s, %s: %d objects, %v", list, what, n, err)
			}
		}
		us, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil))
		check("unstructured", len(us), err, empty)
		ms, _, err := listedBy(t, source.FromListerWatcher[*metav1.PartialObjectMetadata](oddof([]byte(list), &metav1.PartialObjectMetadata{}), nil))
		check("metadata", len(ms), err, empty)
	}
	// A server may leave out what is empty, if it is known what it sends.
	lw := answers{format: runtime.ContentTypeJSON, list: []byte(`{"kind":"WidgetList","apiVersion":"example.org/v1"}`)}.listWatch(t)
	if _, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil, source.WithKind("Widget"))); err != nil {
		t.Error("of known kind:", err)
	}
}
