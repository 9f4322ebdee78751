// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	metadataclient "k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
)

// What an API server answers to a request that it refuses is to a StreamFunc what it is
// to the clients of client-go, whose errors engines of statuses go by.
func TestStreamFuncErrors(t *testing.T) {
	cluster := cacheless.get(t)
	user, err := cluster.AddUser(t.Context(), "streamless", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get"}})
	must(t, err)
	nobody := rest.AnonymousClientConfig(cluster.Config())
	nobody.BearerToken = "nobody"
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	create := func(name string) {
		_, err := server.kube.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		must(t, err)
	}
	for i := range 3 {
		create(fmt.Sprint("a", i))
	}
	page, err := server.kube.CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{Limit: 1})
	must(t, err)
	create("b1")
	create("b2")
	_, err = cluster.Compact(t.Context())
	must(t, err)

	core := func(resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: resource}
	}
	for name, test := range map[string]struct {
		config    *rest.Config
		resource  schema.GroupVersionResource
		namespace string
		opts      metav1.ListOptions
		want      informer.Cause
	}{
		"forbidden":     {user.Config(), core("configmaps"), ns, metav1.ListOptions{}, informer.CauseForbidden},
		"unauthorized":  {nobody, core("configmaps"), ns, metav1.ListOptions{}, informer.CauseUnauthorized},
		"not installed": {cluster.Config(), core("nones"), ns, metav1.ListOptions{}, informer.CauseNotInstalled},
		"no group":      {cluster.Config(), schema.GroupVersionResource{Group: "example.net", Version: "v1", Resource: "nones"}, "", metav1.ListOptions{}, informer.CauseNotInstalled},
		"selector":      {cluster.Config(), core("configmaps"), ns, metav1.ListOptions{FieldSelector: "spec.none=1"}, informer.CauseRejected},
		"not supported": {cluster.Config(), core("bindings"), ns, metav1.ListOptions{}, informer.CauseNotSupported},
		"expired":       {cluster.Config(), core("configmaps"), ns, metav1.ListOptions{Limit: 1, Continue: page.Continue}, informer.CauseExpired},
	} {
		stream, err := source.NewStreamFunc(test.config, nil)
		must(t, err)
		objects, err := dynamic.NewForConfig(test.config)
		must(t, err)
		metadatas, err := metadataclient.NewForConfig(test.config)
		must(t, err)
		for _, metadataOnly := range []bool{false, true} {
			_, theirs := objects.Resource(test.resource).Namespace(test.namespace).List(t.Context(), test.opts)
			if metadataOnly {
				_, theirs = metadatas.Resource(test.resource).Namespace(test.namespace).List(t.Context(), test.opts)
			}
			body, err := stream(t.Context(), test.resource, test.namespace, metadataOnly, test.opts)
			if err == nil {
				must(t, body.Close())
			}
			if ours := informer.CauseOf(err); ours != test.want || informer.CauseOf(theirs) != test.want {
				t.Errorf("%s, metadata %v: got %q of %v, want %q; of client-go %v", name, metadataOnly, ours, err, test.want, theirs)
			}
		}
	}
}
