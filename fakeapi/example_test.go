// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/fakeapi"
)

func ExampleServer_Intercept() {
	api := fakeapi.New()
	defer api.Disconnect()
	client, err := kubernetes.NewForConfig(api.Config())
	if err != nil {
		panic(err)
	}
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		switch {
		case r.Verb == "create" && r.Resource.Resource == "pods":
			return apierrors.NewForbidden(r.Resource.GroupResource(), "", errors.New("the quota is used up"))
		case r.Verb == "get" && r.Resource.Resource == "nodes":
			r.Answer(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: r.Name}})
		}
		return nil // the server serves the request
	})
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}}
	_, err = client.CoreV1().Pods("shop").Create(context.Background(), pod, metav1.CreateOptions{})
	fmt.Println(err)
	node, err := client.CoreV1().Nodes().Get(context.Background(), "worker", metav1.GetOptions{})
	fmt.Println(node.Name, err)
	for _, r := range api.Requests() {
		fmt.Println(r.Verb, r.Resource.Resource)
	}
	// Output:
	// pods is forbidden: the quota is used up
	// worker <nil>
	// create pods
	// get nodes
}
