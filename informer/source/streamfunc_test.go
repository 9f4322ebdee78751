// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"

	"github.com/apiary-go/apiary/informer/source"
)

// What a StreamFunc requests, and as what.
func TestStreamFunc(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.String()+" "+r.Header.Get("Accept"))
	}))
	t.Cleanup(srv.Close)
	stream, err := source.NewStreamFunc(&rest.Config{Host: srv.URL + "/below", QPS: -1}, srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	const asMetadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata"
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	widgets := schema.GroupVersionResource{Group: "example.org", Version: "v2", Resource: "widgets"}
	for _, test := range []struct {
		resource     schema.GroupVersionResource
		namespace    string
		metadataOnly bool
		opts         metav1.ListOptions
		want         string
	}{
		{pods, "shop", false, metav1.ListOptions{Limit: 5, FieldSelector: "a=b"}, "/below/api/v1/namespaces/shop/pods?fieldSelector=a%3Db&limit=5 application/json"},
		{pods, "", true, metav1.ListOptions{}, "/below/api/v1/pods " + asMetadata + "List;g=meta.k8s.io;v=v1,"},
		{widgets, "", false, metav1.ListOptions{ResourceVersion: "7", Watch: true}, "/below/apis/example.org/v2/widgets?resourceVersion=7&watch=true application/json"},
		{widgets, "shop", true, metav1.ListOptions{Watch: true}, "/below/apis/example.org/v2/namespaces/shop/widgets?watch=true " + asMetadata + ";g=meta.k8s.io;v=v1,"},
	} {
		body, err := stream(t.Context(), test.resource, test.namespace, test.metadataOnly, test.opts)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || !strings.HasPrefix(string(got), test.want) {
			t.Errorf("requested %s, %v, want %s", got, err, test.want)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Lists wait for their turn, and watches, of which each opens but now and then, do not.
func TestStreamFuncThrottles(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(srv.Close)
	stream, err := source.NewStreamFunc(&rest.Config{Host: srv.URL, RateLimiter: flowcontrol.NewFakeNeverRateLimiter()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, watch := range []bool{false, true} {
		body, err := stream(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "", false, metav1.ListOptions{Watch: watch})
		if (err == nil) != watch {
			t.Errorf("watch %v: %v", watch, err)
		}
		if err == nil {
			_ = body.Close()
		}
	}
}

// Requests have a User-Agent, as those of the clients of client-go.
func TestStreamFuncUserAgent(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.UserAgent()) }))
	t.Cleanup(srv.Close)
	for given, want := range map[string]string{"": rest.DefaultKubernetesUserAgent(), "shop/1": "shop/1"} {
		config := &rest.Config{Host: srv.URL, UserAgent: given}
		stream, err := source.NewStreamFunc(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := stream(t.Context(), schema.GroupVersionResource{Version: "v1", Resource: "pods"}, "", false, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != want || config.UserAgent != given {
			t.Errorf("with %q: the user agent is %s, %v, want %s", given, got, err, want)
		}
		_ = body.Close()
		factory, err := source.NewDynamicListerWatcherFactory(config)
		if err != nil {
			t.Fatal(err)
		}
		lw := factory.ForResource("", schema.GroupVersionResource{Version: "v1", Resource: "pods"})
		if body, err = lw.(source.Streamer).Stream(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != want {
			t.Errorf("the factory with %q: the user agent is %s, %v, want %s", given, got, err, want)
		}
		_ = body.Close()
	}
}

func TestStreamFuncNoConfig(t *testing.T) {
	for want, config := range map[string]*rest.Config{
		"rest.Config is nil": nil,
		"address":            {Host: "http://[", QPS: -1},
	} {
		if _, err := source.NewStreamFunc(config, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
