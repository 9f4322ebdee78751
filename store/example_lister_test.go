// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apiary-go/apiary/store"
)

// Pods by label: the label "app" is indexed, so that a list looks at no other pods.
func ExampleLister() {
	pods, err := store.New(store.Config[*corev1.Pod]{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for name, app := range map[string]string{"web-1": "web", "web-2": "web", "db-1": "db"} {
		_ = apply(pods, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, ResourceVersion: "1", Labels: map[string]string{"app": app},
		}})
	}

	lister, err := store.NewLister(pods, corev1.Resource("pods"), "app")
	if err != nil {
		fmt.Println(err)
		return
	}
	web := labels.SelectorFromSet(labels.Set{"app": "web"})
	fmt.Println(len(lister.List(web)), "in all namespaces,", len(lister.In("kube-system").List(web)), "in kube-system")

	_, err = lister.In("default").Get("web-3")
	fmt.Println(apierrors.IsNotFound(err), err)
	// Output:
	// 2 in all namespaces, 0 in kube-system
	// true pods "web-3" not found
}
