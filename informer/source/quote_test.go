// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/servertest"
	"github.com/apiary-go/apiary/store"
)

// What no text may have in it.
const (
	canary       = "c4nary"
	canaryNumber = "98765432109876543210"
)

func shows(text string) bool {
	for _, value := range []string{canary, canaryNumber, base64.StdEncoding.EncodeToString([]byte(canary)), fmt.Sprint([]byte(canary)), fmt.Sprintf("%x", canary)} {
		if strings.Contains(text, strings.Trim(value, "[]=")) {
			return true
		}
	}
	return false
}

// complaints is a log, with all else that is said of failures.
type complaints[T any] struct {
	informertest.ChanSink[T]
	bytes.Buffer
	failed chan struct{}
	abort  error
}

func (c *complaints[T]) Apply(context.Context, store.Meta, T) error        { return nil }
func (c *complaints[T]) Delete(context.Context, store.Meta, T, bool) error { return nil }
func (c *complaints[T]) Commit(context.Context, string) error              { return nil }
func (c *complaints[T]) Abort(_ store.Pass, err error)                     { c.abort = err }

func (c *complaints[T]) observe(info informer.ReflectorInfo, o informer.ReflectorEvent) {
	fmt.Fprintf(c, "%v %s %v %+v\n", info.Err, informer.Explain(info.Err), c.abort, o)
	if _, ok := o.(informer.BackingOff); ok {
		select {
		case c.failed <- struct{}{}:
		default:
		}
	}
}

// complain returns all that is said of a source until requests are held back.
func complain[T any](t *testing.T, s informer.Source[T]) string {
	t.Helper()
	c := &complaints[T]{failed: make(chan struct{}, 1)}
	log := slog.New(slog.NewTextHandler(c, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, err := informer.NewReflector(informer.Config[T]{
		Source: s, Sink: c, Settings: informer.Settings{
			Lists:   informer.ListPaged,
			Backoff: informer.Backoff{Initial: time.Millisecond, Max: time.Millisecond},
		},
		Observer: informer.Observers(informer.LogObserver(log), informer.ObserverFunc(c.observe)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- r.Run(ctx) }()
	informertest.Await(t, "failure", c.failed)
	cancel()
	informertest.Await(t, "end of Run", ran)
	return c.String()
}

// picky is a custom resource of which a part reads itself, and quotes what it does not like.
type picky struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Data              map[string][]byte `json:"data"`
	Immutable         *bool             `json:"immutable"`
	Type              string            `json:"type"`
	Policy            policy            `json:"policy"`
}

type pickyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []picky `json:"items"`
}

type policy string

func (p *policy) UnmarshalJSON(raw []byte) error { return fmt.Errorf("there is no policy %s", raw) }

func (p *picky) DeepCopyObject() runtime.Object     { c := *p; return &c }
func (p *pickyList) DeepCopyObject() runtime.Object { c := *p; return &c }

// objects are objects that cannot be read, or not by all.
var objects = []string{
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"!c4nary"}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":` + canaryNumber + `}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":"c4nary"}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":["c4nary"]}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"immutable":"c4nary"}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"type":` + canaryNumber + `}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"policy":"c4nary"}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1","creationTimestamp":"c4nary"}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1","generation":` + canaryNumber + `}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1","labels":{"a":` + canaryNumber + `}}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":c4nary}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"c4nary\q"}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":` + canaryNumber + `e` + canaryNumber + `}}`,
	`{"apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"c4nary"}}`,
	`{"kind":"K","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"c4nary"}}`,
	`{"kind":"K","apiVersion":"v1","metadata":{"resourceVersion":"1"},"data":{"password":"c4nary"}}`,
	`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"c4nary"}}`,
	`{"kind":{"c4nary":"c4nary"},"data":{"password":"c4nary"}}`,
	`"c4nary"`,
	`c4nary`,
	`{"kind":"K","apiVersion":"v1","metadata":{"name":"a","resourceVersion":"1"},"data":{"password":"c4nary"`,
}

// secretive answers as a server with one object in it, which can be broken off or damaged
// anywhere. fakeapi sends whole objects.
type secretive struct {
	kind, format string
	list, event  string // how the object is in it; empty: an empty list, no event
	object       string
}

func (s secretive) RoundTrip(r *http.Request) (*http.Response, error) {
	object := strings.ReplaceAll(s.object, `"K"`, `"`+s.kind+`"`)
	body := fmt.Sprintf(`{"kind":"%sList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[]}`, s.kind)
	switch {
	case r.URL.Query().Get("watch") != "":
		body = strings.ReplaceAll(s.event, "OBJECT", object)
	case s.list != "":
		body = strings.ReplaceAll(strings.ReplaceAll(s.list, "OBJECT", object), "KIND", s.kind)
	}
	return servertest.Answer(r, http.StatusOK, s.format, strings.NewReader(body)), nil
}

// places are where an object can be.
var places = []struct{ list, event string }{
	{list: `{"kind":"KINDList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[OBJECT]}`},
	{list: `{"items":[OBJECT],"kind":"KINDList","apiVersion":"v1","metadata":{"resourceVersion":"9"}}`},
	{list: `OBJECT`},
	{list: `[OBJECT]`},
	{event: `{"type":"ADDED","object":OBJECT}`},
	{event: `{"type":"DELETED","object":OBJECT}`},
	{event: `{"type":"ERROR","object":OBJECT}`},
	{event: `{"type":[OBJECT],"object":OBJECT}`},
	{event: `OBJECT`},
}

// server is a transport that is another one in each case.
type server struct{ http.RoundTripper }

// sources are all ways to read objects.
func sources(t *testing.T, transport *server, format string) map[string]func() string {
	t.Helper()
	group := schema.GroupVersion{Version: "v1"}
	types := runtime.NewScheme()
	types.AddKnownTypes(group, &picky{}, &pickyList{})
	metav1.AddToGroupVersion(types, group)
	client := func(s *runtime.Scheme) rest.Interface {
		c, err := rest.RESTClientForConfigAndClient(&rest.Config{Host: "http://127.0.0.1:1", APIPath: "/api", QPS: -1, ContentConfig: rest.ContentConfig{
			ContentType: format, GroupVersion: &group, NegotiatedSerializer: serializer.NewCodecFactory(s).WithoutConversion(),
		}}, &http.Client{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	dyn, err := dynamic.NewForConfigAndClient(&rest.Config{Host: "http://127.0.0.1:1", QPS: -1}, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	widgets := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			return dyn.Resource(group.WithResource("widgets")).List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			return dyn.Resource(group.WithResource("widgets")).Watch(ctx, opts)
		},
	}
	secrets, pickies := source.NewListWatchFromClient(client(clientscheme.Scheme), "secrets", ""), source.NewListWatchFromClient(client(types), "pickies", "")
	convert := func(obj runtime.Object) (*corev1.Secret, error) { return obj.(*corev1.Secret), nil }
	return map[string]func() string{
		"Secret streamed": func() string { return complain(t, source.FromListerWatcher[*corev1.Secret](secrets, nil)) },
		"Secret by client-go": func() string {
			return complain(t, source.FromListerWatcher[*corev1.Secret](informertest.Hidden{ListerWatcherWithContext: secrets}, nil))
		},
		"Secret converted": func() string { return complain(t, source.FromListerWatcher(secrets, convert)) },
		"Secret with mask": func() string {
			return complain(t, source.FromListerWatcher[*corev1.Secret](secrets, nil, source.WithFields("data")))
		},
		"picky streamed": func() string { return complain(t, source.FromListerWatcher[*picky](pickies, nil)) },
		"picky by client-go": func() string {
			return complain(t, source.FromListerWatcher[*picky](informertest.Hidden{ListerWatcherWithContext: pickies}, nil))
		},
		"unstructured streamed": func() string { return complain(t, source.FromListerWatcher[*unstructured.Unstructured](secrets, nil)) },
		"unstructured by client-go": func() string {
			return complain(t, source.FromListerWatcher[*unstructured.Unstructured](widgets, nil))
		},
	}
}

// Nothing that is said of an object that cannot be read shows what is in it: no error, no
// line of the log, no state of a Reflector; however it is read, and whatever is wrong.
func TestFailuresQuoteNothing(t *testing.T) {
	quiet(t)
	transport := &server{}
	all := sources(t, transport, runtime.ContentTypeJSON)
	for _, place := range places {
		for _, object := range objects {
			for kind, names := range map[string][]string{
				"Secret": {"Secret streamed", "Secret by client-go", "Secret converted", "Secret with mask", "unstructured streamed"},
				"picky":  {"picky streamed", "picky by client-go", "unstructured by client-go"},
			} {
				transport.RoundTripper = secretive{kind: kind, format: runtime.ContentTypeJSON, list: place.list, event: place.event, object: object}
				for _, name := range names {
					if text := all[name](); shows(text) {
						t.Errorf("%s: %s%s of %s: %s", name, place.list, place.event, object, text)
					}
				}
			}
		}
	}
}

// The same for protobuf that breaks off, or is damaged, anywhere.
func TestProtobufFailuresQuoteNothing(t *testing.T) {
	quiet(t)
	const format = runtime.ContentTypeProtobuf
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "a", ResourceVersion: "1", Labels: map[string]string{"a": canary}},
		Data:       map[string][]byte{"password": []byte(canary)}, Type: canary,
	}
	config := &corev1.ConfigMap{ObjectMeta: secret.ObjectMeta, Data: map[string]string{"password": canary}, BinaryData: secret.Data}
	list := informertest.Encode(t, format, &corev1.SecretList{Items: []corev1.Secret{*secret}})
	bodies := []answers{
		{format, list, event(t, format, "ERROR", secret)},
		{format, list, event(t, format, "ERROR", config)},
		{format, list, event(t, format, "ADDED", config)},
	}
	damage := func(body []byte, add func([]byte)) {
		for i := range body {
			for _, with := range []byte{0x00, 0x0b} {
				damaged := bytes.Clone(body)
				damaged[i] = with
				add(damaged)
			}
			add(body[:i])
		}
	}
	damage(list, func(list []byte) { bodies = append(bodies, answers{format: format, list: list}) })
	damage(event(t, format, "ADDED", secret), func(event []byte) { bodies = append(bodies, answers{format, list, event}) })
	transport := &server{}
	all := sources(t, transport, format)
	for _, body := range bodies {
		transport.RoundTripper = body
		for _, name := range []string{"Secret streamed", "Secret by client-go", "Secret with mask"} {
			if text := all[name](); shows(text) {
				t.Errorf("%s: %q and %q: %s", name, body.list, body.watch, text)
			}
		}
	}
}

// RoundTrip answers as ServeHTTP, without a server.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body := a.list
	if r.URL.Query().Get("watch") != "" {
		body = a.watch
	}
	return servertest.Answer(r, http.StatusOK, a.format, bytes.NewReader(body)), nil
}

// What a server sends is as short as a line, in one line, in all that is said of it.
func TestServerTextIsShort(t *testing.T) {
	quiet(t)
	long := strings.Repeat(`x \n\u0000é `, 1<<12)
	transport := &server{}
	all := sources(t, transport, runtime.ContentTypeJSON)
	status := `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"message":"` + long + `"}`
	for name, body := range map[string]secretive{
		"status for a list":  {list: status},
		"status for a watch": {event: status},
		"error of a watch":   {event: `{"type":"ERROR","object":` + status + `}`},
		"kind":               {list: `{"kind":"` + long + `","apiVersion":"v1","items":[]}`},
		"kind of an event":   {event: `{"type":"ADDED","object":{"kind":"` + long + `","metadata":{"name":"a"}}}`},
		"event":              {event: `{"type":"` + long + `","object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}}`},
		"name":               {event: `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"` + long + `"},"type":1}}`},
		"field":              {event: `{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"},"data":{"` + long + `":1}}}`},
	} {
		body.kind, body.format = "Secret", runtime.ContentTypeJSON
		transport.RoundTripper = body
		for _, how := range []string{"Secret streamed", "Secret by client-go", "unstructured by client-go"} {
			for line := range strings.Lines(all[how]()) {
				if len(line) > 5000 || strings.ContainsRune(line, 0) {
					t.Errorf("%s, %s: %d bytes: %.300q", name, how, len(line), line)
				}
			}
		}
	}
}
