// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

func widget(apiVersion, kind string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
}

// Unstructured objects that do not say of which kind they are get it from the list, also
// if the list says so behind them, if it is known in advance.
func TestUnstructuredKindBehindItems(t *testing.T) {
	const (
		item  = `"items":[{"metadata":{"name":"a"}},{"kind":"Widget","apiVersion":"example.org/v1","metadata":{"name":"b"}}]`
		last  = `{` + item + `,"apiVersion":"example.org/v1","kind":"WidgetList","metadata":{"resourceVersion":"5"}}`
		split = `{"apiVersion":"example.org/v1",` + item + `,"kind":"WidgetList","metadata":{"resourceVersion":"5"}}` // in the order of the alphabet
		late  = `{"kind":"WidgetList",` + item + `,"apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"}}`
	)
	byType := func(apiVersion, kind string) source.SourceOption {
		return source.WithObjectType(widget(apiVersion, kind))
	}
	for name, test := range map[string]struct {
		list string
		opt  source.SourceOption
		want string // of the error
	}{
		"kind known":               {split, source.WithKind("Widget"), ""},
		"type known":               {last, byType("example.org/v1", "Widget"), ""},
		"type known, kind behind":  {split, byType("example.org/v1", "Widget"), ""},
		"nothing known":            {split, nil, "WithObjectType"},
		"version not known":        {last, source.WithKind("Widget"), "WithObjectType"},
		"another kind":             {split, source.WithKind("Gadget"), "Widget"},
		"another version":          {last, byType("example.org/v2", "Widget"), "example.org/v1"},
		"another version, in list": {split, byType("example.org/v2", "Widget"), "example.org/v1"},
		"another group":            {last, byType("example/v1", "Widget"), "example.org/v1"},
		"version behind":           {late, nil, "WithObjectType"},
		"version behind, kind":     {late, source.WithKind("Widget"), "WithObjectType"},
		"version behind, type":     {late, byType("example.org/v1", "Widget"), ""},
		"version behind, another":  {late, byType("example.org/v2", "Widget"), "example.org/v1"},
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(test.list)}.listWatch(t)
		got, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil, test.opt))
		if test.want != "" {
			if informer.CauseOf(err) != informer.CauseDecoding || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		for _, u := range got {
			if u.GetKind() != "Widget" || u.GetAPIVersion() != "example.org/v1" {
				t.Errorf("%s: got %v", name, u)
			}
		}
	}
	streamer := oddof([]byte(last), widget("example.org/v1", "Widget"))
	if got, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](streamer, nil)); err != nil || got[0].GetKind() != "Widget" {
		t.Errorf("a Streamer that says so: %v, %v", got, err)
	}
}

// A Streamer knows of which kind objects are, and not what their list is called.
func TestStreamerListName(t *testing.T) {
	const own = `{"kind":"Widget","apiVersion":"example.org/v1","metadata":{"name":"a"}}`
	for list, right := range map[string]bool{
		`{"kind":"BunchList","apiVersion":"example.org/v1","items":[]}`:                                                                        true,
		`{"kind":"BunchList","apiVersion":"example.org/v1"}`:                                                                                   false,
		`{"kind":"BunchList","apiVersion":"example.org/v1","items":[` + own + `]}`:                                                             true,
		`{"items":[` + own + `],"kind":"BunchList","apiVersion":"example.org/v1"}`:                                                             true,
		`{"items":[` + own + `,{"metadata":{"name":"b"}}],"kind":"BunchList","apiVersion":"example.org/v1"}`:                                   false,
		`{"items":[` + own + `,{"metadata":{"name":"b"}}],"kind":"WidgetList","apiVersion":"example.org/v1"}`:                                  true,
		`{"kind":"Bunch","apiVersion":"example.org/v1","items":[]}`:                                                                            false,
		`{"kind":"BunchList","apiVersion":"example.org/v2","items":[]}`:                                                                        false,
		`{"kind":"BunchList","apiVersion":"example.org/v1","items":[{"kind":"Gadget","apiVersion":"example.org/v1","metadata":{"name":"a"}}]}`: false,
	} {
		streamer := oddof([]byte(list), widget("example.org/v1", "Widget"))
		if _, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](streamer, nil)); (err == nil) != right {
			t.Errorf("%s: %v", list, err)
		}
		if _, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](streamer, nil, source.WithKind("Widget"))); err == nil && strings.Contains(list, "Bunch") {
			t.Errorf("%s: it has the name of another kind than that of WithKind", list)
		}
	}
}

// What WithObjectType says of a group is all of it, and a version counts without a kind.
func TestObjectTypeGroups(t *testing.T) {
	pod := func(apiVersion string) source.SourceOption {
		return source.WithObjectType(&corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "Pod"}})
	}
	for list, test := range map[string]struct {
		right, wrong []source.SourceOption
	}{
		`{"kind":"PodList","apiVersion":"example.org/v1","items":[]}`: {
			[]source.SourceOption{pod("example.org/v1")},
			[]source.SourceOption{pod("example/v1"), pod("v1"), pod("example.org/v2"), nil},
		},
		`{"kind":"PodList","apiVersion":"v1","items":[]}`: {
			[]source.SourceOption{pod("v1"), nil},
			[]source.SourceOption{pod("example/v1"), pod("core/v1")},
		},
		`{"kind":"PodList","apiVersion":"v1","items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}]}`: {
			[]source.SourceOption{pod("v1"), nil},
			[]source.SourceOption{pod("example/v1")},
		},
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(list)}.listWatch(t)
		for i, opt := range append(slices.Clone(test.right), test.wrong...) {
			_, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil, opt))
			if want := i < len(test.right); (err == nil) != want || err != nil && informer.CauseOf(err) != informer.CauseDecoding {
				t.Errorf("%s, option %d: %v", list, i, err)
			}
		}
	}
	for list, right := range map[string]bool{
		`{"kind":"WidgetList","apiVersion":"example.org/v1","items":[{"metadata":{"name":"a"}}]}`:                                         true,
		`{"kind":"WidgetList","apiVersion":"other/v7","items":[]}`:                                                                        false,
		`{"kind":"List","apiVersion":"v1","items":[{"kind":"Widget","apiVersion":"example.org/v1","metadata":{"name":"a"}}]}`:             true,
		`{"kind":"List","apiVersion":"v1","items":[{"kind":"Widget","apiVersion":"other/v7","metadata":{"name":"a"}}]}`:                   false,
		`{"kind":"WidgetList","items":[{"kind":"Widget","apiVersion":"other/v7","metadata":{"name":"a"}}],"apiVersion":"example.org/v1"}`: false,
	} {
		lw := answers{format: runtime.ContentTypeJSON, list: []byte(list)}.listWatch(t)
		_, _, err := listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil, source.WithObjectType(widget("example.org/v1", ""))))
		if (err == nil) != right || err != nil && informer.CauseOf(err) != informer.CauseDecoding {
			t.Errorf("%s: %v", list, err)
		}
	}
}

// small is what is made of a pod.
type smallPod struct{ name, node, ip string }

func toSmall(obj runtime.Object) (smallPod, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return smallPod{}, fmt.Errorf("a %T", obj)
	}
	return smallPod{pod.Name, pod.Spec.NodeName, pod.Status.PodIP}, nil
}

// With WithObjectType what a client lists is read as a stream although it is converted.
func TestWithObjectType(t *testing.T) {
	for _, format := range formats {
		pods := informertest.WirePods(3)
		lw := answers{format: format, list: informertest.Encode(t, format, pods), watch: event(t, format, "ADDED", &pods.Items[0])}.listWatch(t)
		want, _, err := listedBy(t, source.FromListerWatcher(lw, toSmall))
		if err != nil {
			t.Fatal("the oracle:", err)
		}
		for name, opts := range map[string][]source.SourceOption{
			"whole":  {source.WithObjectType(&corev1.Pod{})},
			"fields": {source.WithObjectType(&corev1.Pod{}), source.WithFields("spec.nodeName", "status.podIP")},
		} {
			source := source.FromListerWatcher(lw, toSmall, opts...)
			got, page, err := listedBy(t, source)
			if err != nil || !reflect.DeepEqual(got, want) || page.Version != "100" {
				t.Errorf("%s, %s: got %v of %+v, %v; want %v", format, name, got, page, err, want)
			}
			stream, err := source.Watch(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if e, err := stream.Next(); err != nil {
				t.Error(err)
			} else if got, err := e.Item.Decode(); err != nil || got != want[0] {
				t.Errorf("%s, %s: watch: got %v, %v", format, name, got, err)
			}
			stream.Stop()
		}
	}
}

// That it is a stream shows in what comes before the body breaks off.
func TestWithObjectTypeStreams(t *testing.T) {
	for _, format := range formats {
		body := informertest.Encode(t, format, informertest.WirePods(100))
		lw := answers{format: format, list: body[:len(body)/2]}.listWatch(t)
		for _, streams := range []bool{false, true} {
			var opts []source.SourceOption
			if streams {
				opts = append(opts, source.WithObjectType(&corev1.Pod{}))
			}
			got, _, err := listedBy(t, source.FromListerWatcher(lw, toSmall, opts...))
			if err == nil || len(got) > 0 != streams {
				t.Errorf("%s, streams %v: %d pods, %v", format, streams, len(got), err)
			}
		}
	}
}

// Where it says nothing it is an error of the construction.
func TestWithObjectTypeErrors(t *testing.T) {
	made := answers{format: runtime.ContentTypeJSON}.listWatch(t)
	replaced := answers{format: runtime.ContentTypeJSON}.listWatch(t)
	replaced.ListFunc = func(context.Context, metav1.ListOptions) (runtime.Object, error) { return nil, io.EOF }
	streamer := oddof(nil, &corev1.Pod{})
	convert := func(obj runtime.Object) (*corev1.Pod, error) { return obj.(*corev1.Pod), nil }
	pod, gadget := &corev1.Pod{}, &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "example.org/v1", Kind: "Gadget"}}
	for name, test := range map[string]struct {
		lw      cache.ListerWatcher
		convert func(runtime.Object) (*corev1.Pod, error)
		obj     runtime.Object
		want    string
	}{
		"needed":             {made, convert, pod, ""},
		"names the kind":     {made, nil, gadget, ""},
		"says what T says":   {made, nil, pod, "leave it out"},
		"metadata of a kind": {made, convert, &metav1.PartialObjectMetadata{TypeMeta: gadget.TypeMeta}, "metadata"},
		"metadata":           {made, convert, &metav1.PartialObjectMetadata{}, ""},
		"a group alone":      {made, convert, widget("example.org/", "Gadget"), "version"},
		"another than T":     {made, nil, &corev1.Service{}, "*v1.Service"},
		"functions replaced": {replaced, convert, pod, "NewListWatchFromClient"},
		"some ListerWatcher": {informertest.Hidden{ListerWatcherWithContext: made}, convert, pod, "NewListWatchFromClient"},
		"a Streamer":         {streamer, convert, pod, "ObjectType"},
		"nil":                {made, convert, nil, "WithObjectType(<nil>)"},
		"nil pointer":        {made, convert, (*corev1.Pod)(nil), "WithObjectType"},
	} {
		_, err := informer.NewReflector(informer.Config[*corev1.Pod]{
			Source: source.FromListerWatcher(test.lw, test.convert, source.WithObjectType(test.obj)), Sink: informertest.NewChanSink[*corev1.Pod](),
		})
		if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "WithObjectType")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
