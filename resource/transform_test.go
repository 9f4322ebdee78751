// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/resource"
)

// A transform may modify and return what it is given.
func TestTransformModifies(t *testing.T) {
	api := fakeapi.New()
	defer api.Disconnect()
	for i := range 6 {
		if err := api.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("web-", i), Namespace: "shop", Labels: map[string]string{"app": "web", "tier": "front"}}}); err != nil {
			t.Fatal(err)
		}
	}
	config := api.Config()
	config.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	lc := &cell.DefaultLifecycle{}
	pods := source.NewListWatchFromClient(client.CoreV1().RESTClient(), "pods", "shop")
	r := resource.New[*corev1.Pod](lc, pods, resource.WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) {
		p.Labels["name"] = p.Name
		return p, nil
	}))
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if err := lc.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	defer lc.Stop(log, context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for e := range r.Events(ctx) {
		e.Done(nil)
		if e.Kind == resource.Sync {
			break
		}
		if got := e.Object.Labels["name"]; got != e.Object.Name {
			text, _ := json.Marshal(e.Object.Labels)
			t.Errorf("%s: %s", e.Object.Name, text)
		}
	}
}
