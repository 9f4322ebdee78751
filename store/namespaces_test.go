// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/store"
)

// Objects of one name are told apart by their namespaces, also where what the table
// keeps of their hashes is the same.
func TestOneNameInManyNamespaces(t *testing.T) {
	x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	pods := make([]*corev1.Pod, n)
	for i := range pods {
		pods[i] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: strconv.Itoa(i), Name: "web"}}
		if err := x.Add(pods[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range pods {
		if got, _ := x.Get(store.KeyOf(want)); got != want {
			t.Fatalf("found another one in namespace %d", i)
		}
		if _, ok := x.Get(store.Key{Namespace: "none" + want.Namespace, Name: "web"}); ok {
			t.Fatal("found one in a namespace that there is not")
		}
	}
	if x.Len() != n {
		t.Errorf("%d objects, want %d", x.Len(), n)
	}
}
