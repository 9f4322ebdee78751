// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/informer/source"
)

// oddStreamer is a Streamer as that of cells.
type oddStreamer struct {
	informertest.Hidden
	body func(ctx context.Context) io.ReadCloser
	obj  runtime.Object
}

func (s oddStreamer) Stream(ctx context.Context, _ metav1.ListOptions) (io.ReadCloser, error) {
	return s.body(ctx), nil
}
func (s oddStreamer) ObjectType() runtime.Object { return s.obj }

func oddof(data []byte, obj runtime.Object) oddStreamer {
	return oddStreamer{body: func(context.Context) io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }, obj: obj}
}

// A transform, which by resource.WithTransform may modify and return what it is given,
// must not change other objects.
func TestTransformModifies(t *testing.T) {
	data := informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(6))
	source := source.FromListerWatcher(oddof(data, &corev1.Pod{}), func(obj runtime.Object) (*corev1.Pod, error) {
		pod := obj.(*corev1.Pod)
		pod.Labels["name"] = pod.Name                  // in its own map, as it seems
		pod.Spec.Containers[0].Image += "@" + pod.Name // in its own slice
		return pod, nil
	})
	pods, _, err := listedBy(t, source)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if p.Labels["name"] != p.Name || p.Spec.Containers[0].Image != "registry.example.com/web:1@"+p.Name {
			t.Errorf("%s has label %q, image %q", p.Name, p.Labels["name"], p.Spec.Containers[0].Image)
		}
	}
}

// Nor may it race with those who read them.
func TestTransformRaces(t *testing.T) {
	data := informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(2000))
	source := source.FromListerWatcher(oddof(data, &corev1.Pod{}), func(obj runtime.Object) (*corev1.Pod, error) {
		delete(obj.(*corev1.Pod).Labels, "tier") // to have less in memory
		return obj.(*corev1.Pod), nil
	})
	store := make(chan *corev1.Pod, 4000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range store { // somebody who has been given the object and reads it
			for i := 0; i < 20; i++ {
				_ = p.Labels["app"]
			}
		}
	}()
	_, err := source.List(t.Context(), metav1.ListOptions{}, func(i informer.Item[*corev1.Pod]) error {
		p, err := i.Decode()
		store <- p
		return err
	})
	close(store)
	<-done
	if err != nil {
		t.Fatal(err)
	}
}

// A BatchConsumer owns its objects, including all their maps.
func TestBatchesModified(t *testing.T) {
	lw := answers{format: runtime.ContentTypeProtobuf, list: informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(6))}.listWatch(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pods []informer.Object[*corev1.Pod]
	h, err := push.NewListWatchHelper(lw, push.ListWatchCallback[*corev1.Pod]{
		OnList: func(_ context.Context, all []informer.Object[*corev1.Pod]) error {
			for _, p := range all {
				p.Object.Labels["name"] = p.Object.Name
			}
			pods = all
			cancel()
			return nil
		},
		OnEvent: func(context.Context, push.BatchChange[*corev1.Pod]) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = h.Run(ctx)
	for _, p := range pods {
		if p.Object.Labels["name"] != p.Object.Name {
			t.Errorf("%s has label %q", p.Object.Name, p.Object.Labels["name"])
		}
	}
	if len(pods) != 6 {
		t.Errorf("%d pods", len(pods))
	}
}

// Another version of the same kind is another type. Client-go's decoding says so.
func TestOtherVersion(t *testing.T) {
	raw := []byte(`{"kind":"HorizontalPodAutoscalerList","apiVersion":"autoscaling/v1","metadata":{"resourceVersion":"5"},` +
		`"items":[{"metadata":{"name":"a","resourceVersion":"1"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50}}]}`)
	lw := answers{format: runtime.ContentTypeJSON, list: raw}.listWatch(t)
	_, _, err := listedBy(t, source.FromListerWatcher[*autoscalingv2.HorizontalPodAutoscaler](informertest.Hidden{ListerWatcherWithContext: lw}, nil))
	if err == nil {
		t.Fatal("the oracle accepts it")
	}
	t.Log("client-go:", err)
	if got, _, err := listedBy(t, source.FromListerWatcher[*autoscalingv2.HorizontalPodAutoscaler](lw, nil)); err == nil {
		t.Errorf("autoscaling/v1 as v2: no error, spec %+v", got[0].Spec)
	}
	// In protobuf the numbers of the fields differ too.
	list := &corev1.EventList{Items: []corev1.Event{{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "1"}, Reason: "Killed", Message: "gone", Count: 3}}}
	lw = answers{format: runtime.ContentTypeProtobuf, list: informertest.Encode(t, runtime.ContentTypeProtobuf, list)}.listWatch(t)
	if got, _, err := listedBy(t, source.FromListerWatcher[*eventsv1.Event](lw, nil)); err == nil {
		t.Errorf("v1 Event as events.k8s.io/v1: no error, %+v", got[0])
	} else {
		t.Log(err)
	}
	// An empty one deletes everything.
	lw = answers{format: runtime.ContentTypeProtobuf, list: informertest.Encode(t, runtime.ContentTypeProtobuf, &corev1.EventList{ListMeta: metav1.ListMeta{ResourceVersion: "5"}})}.listWatch(t)
	_, _, err = listedBy(t, source.FromListerWatcher[*eventsv1.Event](informertest.Hidden{ListerWatcherWithContext: lw}, nil))
	t.Log("client-go:", err)
	if _, _, err := listedBy(t, source.FromListerWatcher[*eventsv1.Event](lw, nil)); err == nil {
		t.Error("an empty list of v1 Events is one of events.k8s.io/v1")
	}
	_ = autoscalingv1.SchemeGroupVersion
}

// A path that protobuf has not is an error of the construction, or none at all.
func TestMaskOfProtobuf(t *testing.T) {
	list := &resourcev1.ResourceSliceList{Items: []resourcev1.ResourceSlice{{ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "1"}}}}
	info, _ := runtime.SerializerInfoForMediaType(clientscheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	data, err := runtime.Encode(clientscheme.Codecs.EncoderForVersion(info.Serializer, resourcev1.SchemeGroupVersion), list)
	if err != nil {
		t.Fatal(err)
	}
	for _, paths := range [][]string{
		{"spec.devices.attributes[model].string"},
		{"spec.devices.attributes[model]", "spec.devices.attributes.version"},
		{"spec[nodeName]"},
	} {
		source := source.FromListerWatcher[*resourcev1.ResourceSlice](oddof(data, &resourcev1.ResourceSlice{}), nil, source.WithFields(paths...))
		if _, err := informer.NewReflector(informer.Config[*resourcev1.ResourceSlice]{Source: source, Sink: informertest.NewChanSink[*resourcev1.ResourceSlice]()}); err != nil {
			continue
		}
		if _, _, err := listedBy(t, source); err != nil {
			t.Errorf("%q: NewReflector accepts it, each list fails: %v", paths, err)
		}
	}
}

// The same of a metadata client; and what it does with servers that know nothing of
// metadata alone.
func TestMetadata(t *testing.T) {
	for name, list := range map[string]string{
		"metadata":     `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"5"},"items":[{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a","resourceVersion":"1"}}]}`,
		"full objects": `{"kind":"GadgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"},"items":[{"kind":"Gadget","apiVersion":"example.org/v1","metadata":{"name":"a","resourceVersion":"1"}}]}`,
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, list)
		}))
		defer s.Close()
		c, err := metadata.NewForConfig(&rest.Config{Host: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		want, err := c.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "gadgets"}).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal("the oracle:", err)
		}
		got, _, err := listedBy(t, source.FromListerWatcher[*metav1.PartialObjectMetadata](oddof([]byte(list), &metav1.PartialObjectMetadata{}), nil))
		if err != nil {
			t.Errorf("%s: %v; client-go has %+v", name, err, want.Items[0])
		} else if got[0].TypeMeta != want.Items[0].TypeMeta {
			t.Errorf("%s: got %+v, client-go has %+v", name, got[0].TypeMeta, want.Items[0].TypeMeta)
		}
	}
}

// The end of the initial events of something else is not the end of these: with no
// events before it, it would delete everything.
func TestBookmarkOfOther(t *testing.T) {
	other := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	for _, format := range formats {
		lw := answers{format: format, watch: event(t, format, "BOOKMARK", other)}.listWatch(t)
		stream, err := source.FromListerWatcher[*corev1.Pod](lw, nil).Watch(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := stream.Next(); err == nil {
			t.Errorf("%s: a bookmark of services is %+v of pods", format, e)
		}
		stream.Stop()
	}
}

// An error names the object that it is of.
func TestErrorNamesObject(t *testing.T) {
	list := `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"good","resourceVersion":"1"}},{"metadata":{"name":"bad","resourceVersion":7}}]}`
	lw := answers{format: runtime.ContentTypeJSON, list: []byte(list)}.listWatch(t)
	_, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil))
	var decoding *informer.DecodingError
	if !errors.As(err, &decoding) || decoding.Meta.Key.Name == "good" {
		t.Error(err)
	}
}

// endsWithContext is a body that ends with its context, as Streamer demands it.
type endsWithContext struct {
	data io.Reader
	ctx  context.Context
}

func (b endsWithContext) Read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if err == io.EOF {
		<-b.ctx.Done()
		err = b.ctx.Err()
	}
	return n, err
}
func (endsWithContext) Close() error { return nil }

// List returns when yield fails.
func TestYieldFails(t *testing.T) {
	data := informertest.Encode(t, runtime.ContentTypeProtobuf, informertest.WirePods(3))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := oddStreamer{obj: &corev1.Pod{}, body: func(ctx context.Context) io.ReadCloser {
		return endsWithContext{bytes.NewReader(data[:len(data)-100]), ctx}
	}}
	returned := make(chan error, 1)
	go func() {
		_, err := source.FromListerWatcher[*corev1.Pod](s, nil).List(ctx, metav1.ListOptions{}, func(informer.Item[*corev1.Pod]) error { return errors.New("full") })
		returned <- err
	}()
	select {
	case err := <-returned:
		t.Log(err)
	case <-time.After(2 * time.Second):
		t.Error("yield failed, and List waits for the body")
		cancel()
		<-returned
	}
}

// A type whose name is not the kind works with client-go's decoding.
type OddGadget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
}
type OddGadgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []OddGadget `json:"items"`
}

func (g *OddGadget) DeepCopyObject() runtime.Object     { c := *g; return &c }
func (g *OddGadgetList) DeepCopyObject() runtime.Object { c := *g; return &c }

// Whose type has another name than the kind says so.
func TestWithKind(t *testing.T) {
	list := `{"kind":"GadgetList","apiVersion":"example.org/v1","metadata":{"resourceVersion":"5"},"items":[{"metadata":{"name":"a","resourceVersion":"1"}}]}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, list)
	}))
	defer s.Close()
	gv := schema.GroupVersion{Group: "example.org", Version: "v1"}
	scheme := runtime.NewScheme()
	scheme.AddKnownTypeWithName(gv.WithKind("Gadget"), &OddGadget{})
	scheme.AddKnownTypeWithName(gv.WithKind("GadgetList"), &OddGadgetList{})
	metav1.AddToGroupVersion(scheme, gv)
	c, err := rest.RESTClientFor(&rest.Config{Host: s.URL, APIPath: "/apis", ContentConfig: rest.ContentConfig{GroupVersion: &gv, NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion()}})
	if err != nil {
		t.Fatal(err)
	}
	lw := source.NewListWatchFromClient(c, "gadgets", "")
	if _, _, err := listedBy(t, source.FromListerWatcher[*OddGadget](informertest.Hidden{ListerWatcherWithContext: lw}, nil)); err != nil {
		t.Fatal("the oracle:", err)
	}
	if _, _, err := listedBy(t, source.FromListerWatcher[*OddGadget](lw, nil)); err == nil || !strings.Contains(err.Error(), "WithKind") {
		t.Error(err)
	}
	if got, _, err := listedBy(t, source.FromListerWatcher[*OddGadget](lw, nil, source.WithKind("Gadget"))); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
}
