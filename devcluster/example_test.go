// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"context"
	"fmt"
	"log"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/devcluster"
)

// Start a cluster, list its namespaces, stop it.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	c, err := devcluster.Start(ctx, devcluster.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop(context.Background())

	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		log.Print(err)
		return
	}
	namespaces := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	list, err := client.Resource(namespaces).List(ctx, metav1.ListOptions{})
	if err != nil {
		log.Print(err)
		return
	}
	for _, namespace := range list.Items {
		fmt.Println(namespace.GetName())
	}
}

// A server that crashes under its clients and comes back.
func ExampleCluster_Restart() {
	ctx := context.Background()
	c, err := devcluster.Start(ctx, devcluster.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop(ctx)

	if err := c.Kill(); err != nil {
		log.Print(err)
		return
	}
	// Clients now get "connection refused" ...
	if err := c.Restart(ctx); err != nil {
		log.Print(err)
		return
	}
	// ... and now find the same objects at the same address.
}

// A user without the right to list pods, who then gets it.
func ExampleUser_SetRules() {
	ctx := context.Background()
	c, err := devcluster.Start(ctx, devcluster.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop(ctx)

	user, err := c.AddUser(ctx, "jane")
	if err != nil {
		log.Print(err)
		return
	}
	client, err := dynamic.NewForConfig(user.Config())
	if err != nil {
		log.Print(err)
		return
	}
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	_, err = client.Resource(pods).List(ctx, metav1.ListOptions{})
	fmt.Println("forbidden:", apierrors.IsForbidden(err))

	err = user.SetRules(ctx, rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch"},
	})
	if err != nil {
		log.Print(err)
		return
	}
	_, err = client.Resource(pods).List(ctx, metav1.ListOptions{})
	fmt.Println("allowed:", err == nil)
}

// A server without a watch cache, whose old resource versions expire.
func ExampleCluster_Compact() {
	ctx := context.Background()
	c, err := devcluster.Start(ctx, devcluster.Config{Flags: []string{"--watch-cache=false"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop(ctx)

	client, err := dynamic.NewForConfig(c.Config())
	if err != nil {
		log.Print(err)
		return
	}
	namespaces := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
	first, err := namespaces.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		log.Print(err)
		return
	}
	if err := c.InstallCRDs(ctx, []byte(crds)); err != nil { // any change will do
		log.Print(err)
		return
	}
	if _, err := c.Compact(ctx); err != nil {
		log.Print(err)
		return
	}
	_, err = namespaces.List(ctx, metav1.ListOptions{Limit: 1, Continue: first.GetContinue()})
	fmt.Println("expired:", apierrors.IsResourceExpired(err))
}
