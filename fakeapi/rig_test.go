// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	widgets = fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Widget"}
	gadgets = fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Gadget", ClusterScoped: true}
)

type clients struct {
	kubernetes kubernetes.Interface
	dynamic    dynamic.Interface
	metadata   metadata.Interface
}

// clientsOf returns clients that send their requests to api, without a connection.
func clientsOf(t *testing.T, api *fakeapi.Server) clients {
	t.Helper()
	t.Cleanup(api.Disconnect)
	return clientsFor(t, api.Config())
}

func clientsFor(t *testing.T, config *rest.Config) clients {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	typed := rest.CopyConfig(config) // as users do it
	typed.ContentType, typed.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	var out clients
	if out.kubernetes, err = kubernetes.NewForConfigAndClient(typed, client); err != nil {
		t.Fatal(err)
	}
	if out.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		t.Fatal(err)
	}
	if out.metadata, err = metadata.NewForConfigAndClient(config, client); err != nil {
		t.Fatal(err)
	}
	return out
}

func pod(namespace, name string, labels ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{}}}
	for i := 0; i+1 < len(labels); i += 2 {
		p.Labels[labels[i]] = labels[i+1]
	}
	return p
}

func custom(kind fakeapi.Kind, namespace, name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"size": int64(1)}}}
	u.SetGroupVersionKind(kind.GVK())
	u.SetNamespace(namespace)
	u.SetName(name)
	return u
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// next returns the next event of w, within two minutes: a quiet watch gets a bookmark
// each minute, and a watch in virtual time costs nothing.
func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e, ok := <-w.ResultChan():
		if !ok {
			t.Fatal("the watch ended")
		}
		return e
	case <-time.After(2 * time.Minute):
		t.Fatal("no event")
	}
	panic("unreachable")
}
