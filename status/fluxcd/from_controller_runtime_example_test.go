// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd_test

// The old code of docs/from-controller-runtime.md. It is here because this module has
// controller-runtime.

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// firewall stands for what a program keeps in step with the pods.
type firewall interface {
	Allow(key, ip string) error
	Remove(key string) error
}

type podReconciler struct {
	client.Client
	fw firewall
}

var _ reconcile.Reconciler = &podReconciler{}

func (r *podReconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var pod corev1.Pod
	if err := r.Get(ctx, req.NamespacedName, &pod); apierrors.IsNotFound(err) {
		return reconcile.Result{}, r.fw.Remove(req.String())
	} else if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.fw.Allow(req.String(), pod.Status.PodIP)
}
