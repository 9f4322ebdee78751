// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
)

// clients are the clients of a test itself, for the side of the server.
type clients struct {
	kube    kubernetes.Interface
	dynamic dynamic.Interface
}

// startApp starts a hive application with a client for that kubeconfig, and stops
// it at the end of the test.
func startApp(t *testing.T, kubeconfig string, parts ...cell.Cell) clients {
	t.Helper()
	var c clients
	h := hive.New(
		cells.Client,
		cell.Group(parts...),
		cell.Invoke(func(kube kubernetes.Interface, dyn dynamic.Interface) {
			c = clients{kube: kube, dynamic: dyn}
		}),
	)
	hive.AddConfigOverride(h, func(cfg *cells.ClientConfig) {
		cfg.K8sKubeconfig = kubeconfig
		cfg.K8sClientQPS = 0
	})
	log := slog.New(slog.DiscardHandler)
	if err := h.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Stop(log, context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// get is an Invoke that hands a value of the hive to the test.
func get[V any](to *V) cell.Cell {
	return cell.Invoke(func(v V) { *to = v })
}

// namespace makes a namespace that is named after the test, and after nothing that
// was on the server before, such as by an earlier run of the test.
func (c clients) namespace(t *testing.T) string {
	t.Helper()
	prefix := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name())) + "-"
	ns, err := c.kube.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func newPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "image"}}},
	}
}

// now deletes without a grace period: nobody is there to end a pod.
func now() metav1.DeleteOptions {
	zero := int64(0)
	return metav1.DeleteOptions{GracePeriodSeconds: &zero}
}

// occurrences records what a reflector did.
type occurrences struct {
	mu      sync.Mutex
	list    []informer.ReflectorEvent
	changed chan struct{}
}

func (o *occurrences) Observe(_ informer.ReflectorInfo, occurrence informer.ReflectorEvent) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, occurrence)
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// all returns what has happened, and a channel that is closed when there is more.
func (o *occurrences) all() ([]informer.ReflectorEvent, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.list[:len(o.list):len(o.list)], o.changed
}

// each returns the occurrences of one type.
func each[O informer.ReflectorEvent](o *occurrences) []O {
	var found []O
	list, _ := o.all()
	for _, occurrence := range list {
		if occurrence, ok := occurrence.(O); ok {
			found = append(found, occurrence)
		}
	}
	return found
}

// await waits for an occurrence of that type for which ok is true.
func await[O informer.ReflectorEvent](t *testing.T, o *occurrences, ok func(O) bool) O {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		list, changed := o.all()
		for _, occurrence := range list {
			if occurrence, is := occurrence.(O); is && ok(occurrence) {
				return occurrence
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var none O
			t.Fatalf("no such %T in %+v", none, list)
		}
	}
}
