// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
)

// The server refuses requests that no client sends.
func TestBadRequests(t *testing.T) {
	server := httptest.NewServer(fakeapi.New())
	defer server.Close()
	for _, method := range []string{http.MethodPut, http.MethodPatch} {
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/api/v1/namespaces/a/pods", strings.NewReader(`{"apiVersion":"v1","kind":"Pod"}`))
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

// The same over a connection.
func TestServer(t *testing.T) {
	api := fakeapi.New()
	server := httptest.NewServer(api)
	defer server.Close()
	defer api.Disconnect()
	c := clientsFor(t, &rest.Config{Host: server.URL})
	ctx := soon(t)
	w, err := c.kubernetes.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if _, err := c.kubernetes.CoreV1().Pods("a").Create(ctx, pod("a", "one"), metav1.CreateOptions{}); err != nil {
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
	if _, lists, err := c.kubernetes.Discovery().ServerGroupsAndResources(); err != nil || len(lists) < 10 {
		t.Error(len(lists), err)
	}
}
