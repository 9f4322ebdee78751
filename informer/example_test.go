// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cachetesting "k8s.io/client-go/tools/cache/testing"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// A Reflector fills a store, which reports each change.
func ExampleReflector() {
	api := cachetesting.NewFakeControllerSource() // in place of a server
	defer api.Shutdown()
	web := func() *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"}}
	}
	api.Add(web())

	ctx, stop := context.WithCancelCause(context.Background())
	pods, err := store.New(store.Config[*corev1.Pod]{
		OnChange: func(c store.Change[*corev1.Pod]) {
			fmt.Println(c.Kind, c.Meta)
			switch c.Kind {
			case store.Added:
				api.Modify(web())
			case store.Updated:
				api.Delete(web())
			case store.Deleted:
				stop(errors.New("seen enough"))
			}
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	reflector, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Source:   source.FromListerWatcher[*corev1.Pod](api, nil),
		Sink:     pods,
		Settings: informer.Settings{Lists: informer.ListPaged}, // the fake cannot stream
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = reflector.Run(ctx)
	fmt.Println(err, "with", pods.Len(), "pods, at version", pods.Version())
	// Output:
	// added shop/web@1
	// updated shop/web@2
	// deleted shop/web@3
	// seen enough with 0 pods, at version 3
}
