// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	demoNamespace = "demo"
	demoNode      = "demo-node"
)

// workload is a small shop on an API server without scheduler and kubelet. It writes
// the status of its pods itself.
type workload struct {
	namespaces typedcorev1.NamespaceInterface
	services   typedcorev1.ServiceInterface
	pods       typedcorev1.PodInterface
	log        *slog.Logger
	serial     map[string]int // of the last pod, by app
}

func newWorkload(client kubernetes.Interface, log *slog.Logger) *workload {
	return &workload{
		namespaces: client.CoreV1().Namespaces(),
		services:   client.CoreV1().Services(demoNamespace),
		pods:       client.CoreV1().Pods(demoNamespace),
		log:        log,
		serial:     map[string]int{},
	}
}

// step is one change in the shop.
type step struct {
	what string
	do   func(ctx context.Context) error
}

// run creates the shop, and then makes one change each interval until ctx ends. A
// change that fails is logged and not retried.
func (w *workload) run(ctx context.Context, interval time.Duration) {
	for _, s := range w.opening() {
		w.take(ctx, s)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		for _, s := range w.day() {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				w.take(ctx, s)
			}
		}
	}
}

func (w *workload) take(ctx context.Context, s step) {
	if ctx.Err() != nil {
		return
	}
	if err := s.do(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn("A step of the demonstration failed", "step", s.what, "error", err)
	}
}

// opening returns the steps at the start.
func (w *workload) opening() []step {
	return []step{
		{"create the namespace", w.createNamespace},
		{"create service web", w.createService("web", map[string]string{"app": "web"})},
		{"create service web-canary", w.createService("web-canary", map[string]string{"app": "web", "track": "canary"})},
		{"create service cart", w.createService("cart", map[string]string{"app": "cart"})},
		{"create service bank, outside", w.createService("bank", nil)},
		{"create web-1", w.createPod("web")},
		{"create web-2", w.createPod("web")},
		{"create cart-1", w.createPod("cart")},
		{"web-1 runs", w.setStatus("web", 1, "", true)},
		{"web-2 runs", w.setStatus("web", 0, "", true)},
	}
}

// day returns the steps that repeat. A pod is named by its app and by how many newer
// pods the app has. Each day it gets one newer pod.
func (w *workload) day() []step {
	return []step{
		{"cart starts", w.setStatus("cart", 0, "", false)},
		{"cart is ready", w.setStatus("cart", 0, "", true)},
		{"roll web: create", w.createPod("web")},
		{"roll web: runs", w.setStatus("web", 0, "", false)},
		{"roll web: ready", w.setStatus("web", 0, "", true)},
		{"roll web: end the oldest", w.terminatePod("web", 2)},
		{"roll web: it has ended", w.deletePod("web", 2)},
		{"the newest web is a canary", w.label("web", 0, "track", "canary")},
		{"cart crashes", w.setStatus("cart", 0, "CrashLoopBackOff", false)},
		{"open a night market", w.createService("night-market", map[string]string{"app": "stall"})},
		{"a stall", w.createPod("stall")},
		{"the stall is ready", w.setStatus("stall", 0, "", true)},
		{"the canary is fine", w.label("web", 0, "track", "stable")},
		{"replace cart: create", w.createPod("cart")},
		{"replace cart: end the old one", w.deletePod("cart", 1)},
		{"the stall closes", w.deletePod("stall", 0)},
		{"the night market closes", w.deleteService("night-market")},
	}
}

func (w *workload) createNamespace(ctx context.Context) error {
	_, err := w.namespaces.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: demoNamespace}}, metav1.CreateOptions{})
	return ignore(err, apierrors.IsAlreadyExists)
}

func (w *workload) createService(name string, selector map[string]string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := w.services.Create(ctx, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: corev1.ServiceSpec{
				Selector: selector,
				Ports:    []corev1.ServicePort{{Port: 80}},
			},
		}, metav1.CreateOptions{})
		return ignore(err, apierrors.IsAlreadyExists)
	}
}

func (w *workload) deleteService(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		return ignore(w.services.Delete(ctx, name, metav1.DeleteOptions{}), apierrors.IsNotFound)
	}
}

// createPod creates the next pod of an app on a node. A pod without a node would be
// deleted at once, without Terminating.
func (w *workload) createPod(app string) func(context.Context) error {
	return func(ctx context.Context) error {
		w.serial[app]++
		_, err := w.pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: w.podName(app, 0), Labels: map[string]string{"app": app, "track": "stable"}},
			Spec: corev1.PodSpec{
				NodeName:   demoNode,
				Containers: []corev1.Container{{Name: "main", Image: "example.invalid/" + app}},
			},
		}, metav1.CreateOptions{})
		return ignore(err, apierrors.IsAlreadyExists)
	}
}

func (w *workload) podName(app string, older int) string {
	return fmt.Sprintf("%s-%d", app, w.serial[app]-older)
}

// setStatus writes the status of a running pod, as the kubelet would. If a reason is
// given, its container waits.
func (w *workload) setStatus(app string, older int, waiting string, ready bool) func(context.Context) error {
	return func(ctx context.Context) error {
		container := corev1.ContainerStatus{Name: "main", Ready: ready}
		if waiting == "" {
			container.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Now()}
		} else {
			container.State.Waiting = &corev1.ContainerStateWaiting{Reason: waiting}
		}
		condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
		if ready {
			condition.Status = corev1.ConditionTrue
		}
		return w.patch(ctx, w.podName(app, older), types.StrategicMergePatchType, map[string]any{"status": map[string]any{
			"phase":             corev1.PodRunning,
			"conditions":        []corev1.PodCondition{condition},
			"containerStatuses": []corev1.ContainerStatus{container},
		}}, "status")
	}
}

func (w *workload) label(app string, older int, key, value string) func(context.Context) error {
	return func(ctx context.Context) error {
		return w.patch(ctx, w.podName(app, older), types.MergePatchType,
			map[string]any{"metadata": map[string]any{"labels": map[string]string{key: value}}})
	}
}

func (w *workload) patch(ctx context.Context, name string, how types.PatchType, patch any, subresources ...string) error {
	data, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode a patch of pod %s: %w", name, err)
	}
	_, err = w.pods.Patch(ctx, name, how, data, metav1.PatchOptions{}, subresources...)
	return err
}

// terminatePod deletes the pod gracefully. It stays until deletePod.
func (w *workload) terminatePod(app string, older int) func(context.Context) error {
	return func(ctx context.Context) error {
		return ignore(w.pods.Delete(ctx, w.podName(app, older), metav1.DeleteOptions{}), apierrors.IsNotFound)
	}
}

func (w *workload) deletePod(app string, older int) func(context.Context) error {
	return func(ctx context.Context) error {
		now := int64(0)
		return ignore(w.pods.Delete(ctx, w.podName(app, older), metav1.DeleteOptions{GracePeriodSeconds: &now}), apierrors.IsNotFound)
	}
}

func ignore(err error, harmless func(error) bool) error {
	if harmless(err) {
		return nil
	}
	return err
}
