// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
)

var (
	widgets = fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Widget"}
	gadgets = fakeapi.Kind{Group: "example.com", Version: "v1", Kind: "Gadget", ClusterScoped: true}
)

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

func fakeClients(t *testing.T, api *fakeapi.Server) clientOut {
	t.Helper()
	out, err := buildClient(api.Config(), "fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Disconnect)
	return out
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
