// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// subresource is a subresource that has another kind than its resource.
type subresource struct {
	name  string
	kind  Kind
	verbs metav1.Verbs
}

var (
	scale    = subresource{"scale", Kind{Group: "autoscaling", Version: "v1", Kind: "Scale"}, changeVerbs}
	eviction = subresource{"eviction", Kind{Group: "policy", Version: "v1", Kind: "Eviction"}, metav1.Verbs{"create"}}
	binding  = subresource{"binding", Kind{Version: "v1", Kind: "Binding"}, metav1.Verbs{"create"}}
)

// subresourcesOf returns the subresources of a kind, except status.
func subresourcesOf(kind Kind) []subresource {
	switch kind.GVK() {
	case corev1.SchemeGroupVersion.WithKind("Pod"):
		return []subresource{eviction, binding}
	case appsv1.SchemeGroupVersion.WithKind("Deployment"), appsv1.SchemeGroupVersion.WithKind("ReplicaSet"),
		appsv1.SchemeGroupVersion.WithKind("StatefulSet"), corev1.SchemeGroupVersion.WithKind("ReplicationController"):
		return []subresource{scale}
	}
	return nil
}

// subresource returns the subresource with a name, and false if it is not one of
// subresourcesOf.
func (k Kind) subresource(name string) (subresource, bool) {
	i := slices.IndexFunc(k.traits.subresources, func(s subresource) bool { return s.name == name })
	if i < 0 {
		return subresource{}, false
	}
	return k.traits.subresources[i], true
}

// serveSubresourceLocked serves a subresource of old, which is nil if it is missing.
func (f *Server) serveSubresourceLocked(c *call, sub subresource, old runtime.Object) (runtime.Object, int, error) {
	group := c.Resource.GroupResource()
	if c.Namespace == "" || !slices.Contains(sub.verbs, c.Verb) {
		return nil, 0, apierrors.NewMethodNotSupported(group, c.Verb)
	}
	own := *c
	own.kind = sub.kind
	if sub.name == scale.name {
		obj, err := f.scaleLocked(c, &own, old)
		return obj, http.StatusOK, err
	}
	obj, err := own.decode(c.body)
	if err != nil {
		return nil, 0, err
	}
	if err := own.checkName(obj); err != nil {
		return nil, 0, err
	}
	pod, exists := old.(*corev1.Pod)
	switch obj := obj.(type) {
	case *policyv1.Eviction:
		if !exists {
			return nil, 0, apierrors.NewNotFound(group, c.Name)
		}
		err = f.evictLocked(c, obj, pod)
	case *corev1.Binding:
		if err = invalidBinding(obj); err == nil && !exists {
			err = apierrors.NewNotFound(group, c.Name)
		}
		if err == nil {
			err = f.bindLocked(c, obj, pod)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess, Code: http.StatusCreated,
	}, http.StatusCreated, nil
}

// scaleLocked serves the number of replicas of old. own is the call with the kind Scale.
func (f *Server) scaleLocked(c, own *call, old runtime.Object) (runtime.Object, error) {
	var (
		obj runtime.Object
		err error
	)
	switch {
	case c.Verb == "update":
		if obj, err = own.decode(c.body); err == nil {
			err = own.checkName(obj)
		}
	case c.Verb == "patch" && old != nil:
		obj, err = own.patched(types.PatchType(mediaOf(c.ContentType)), scaleOf(old))
	}
	switch {
	case err != nil:
		return nil, err
	case old == nil:
		return nil, apierrors.NewNotFound(c.Resource.GroupResource(), c.Name)
	case c.Verb == "get":
		return scaleOf(old), nil
	}
	wanted := obj.(*autoscalingv1.Scale)
	if n := wanted.Spec.Replicas; n < 0 {
		return nil, own.invalid(wanted, field.ErrorList{field.Invalid(field.NewPath("spec", "replicas"), n, "must be greater than or equal to 0")})
	}
	scaled := old.DeepCopyObject()
	replicas, _, _ := replicasOf(scaled)
	*replicas = &wanted.Spec.Replicas
	is := scaled.(metav1.Object)
	if err := checkVersion(c.Resource, is, wanted); err != nil {
		return nil, err
	}
	if scaled, err = f.updateFromLocked(c, old, scaled); err != nil {
		return nil, err
	}
	return scaleOf(scaled), nil
}

// scaleOf returns the Scale of an object.
func scaleOf(obj runtime.Object) *autoscalingv1.Scale {
	replicas, current, selector := replicasOf(obj)
	o := obj.(metav1.Object)
	out := &autoscalingv1.Scale{
		TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
		ObjectMeta: metav1.ObjectMeta{
			Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
			CreationTimestamp: o.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: 1},
		Status: autoscalingv1.ScaleStatus{Replicas: current, Selector: metav1.FormatLabelSelector(selector)},
	}
	if *replicas != nil {
		out.Spec.Replicas = **replicas
	}
	return out
}

// replicasOf returns what a Scale has of an object: the wanted and the current number of
// replicas, and the selector of their pods.
func replicasOf(obj runtime.Object) (wanted **int32, current int32, selector *metav1.LabelSelector) {
	switch o := obj.(type) {
	case *appsv1.Deployment:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *appsv1.ReplicaSet:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *appsv1.StatefulSet:
		return &o.Spec.Replicas, o.Status.Replicas, o.Spec.Selector
	case *corev1.ReplicationController:
		return &o.Spec.Replicas, o.Status.Replicas, &metav1.LabelSelector{MatchLabels: o.Spec.Selector}
	}
	panic(fmt.Sprintf("%T has no scale", obj)) // subresourcesOf has the kinds
}

// evictLocked deletes a pod. It ignores disruption budgets.
func (f *Server) evictLocked(c *call, eviction *policyv1.Eviction, pod *corev1.Pod) error {
	opts := eviction.DeleteOptions
	if opts == nil {
		opts = &metav1.DeleteOptions{}
	}
	if err := checkPreconditions(c, pod, opts.Preconditions); err != nil {
		return err
	}
	f.dryRun = f.dryRun || len(opts.DryRun) > 0
	marked := pod.DeepCopy()
	setCondition(marked, corev1.PodCondition{Type: corev1.DisruptionTarget, Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting"})
	f.deleteLocked(c.Resource, c.key(), f.replaceLocked(c.Resource, c.key(), pod, marked), opts)
	return nil
}

func invalidBinding(binding *corev1.Binding) error {
	switch target := binding.Target; {
	case target.Kind != "" && target.Kind != "Node":
		return apierrors.NewInternalError(fmt.Errorf("target.kind: the target of a binding must be a Node, not a %s", target.Kind))
	case target.Name == "":
		return apierrors.NewInternalError(fmt.Errorf("target.name: the name of the node is required"))
	}
	return nil
}

// bindLocked assigns a pod to a node.
func (f *Server) bindLocked(c *call, binding *corev1.Binding, pod *corev1.Pod) error {
	conflict := func(format string, args ...any) error {
		return apierrors.NewConflict(c.Resource.GroupResource(), c.Name, fmt.Errorf(format, args...))
	}
	if err := checkVersion(c.Resource, pod, binding); err != nil {
		return err
	}
	switch {
	case pod.DeletionTimestamp != nil:
		return conflict("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return conflict("pod %s is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return conflict("pod %s has non-empty .spec.schedulingGates", pod.Name)
	}
	bound := pod.DeepCopy()
	bound.Spec.NodeName = binding.Target.Name
	if bound.Annotations == nil {
		bound.Annotations = map[string]string{}
	}
	maps.Copy(bound.Annotations, binding.Annotations)
	setCondition(bound, corev1.PodCondition{Type: corev1.PodScheduled})
	f.replaceLocked(c.Resource, c.key(), pod, bound)
	return nil
}

// setCondition sets a condition to true.
func setCondition(pod *corev1.Pod, condition corev1.PodCondition) {
	condition.Status, condition.LastTransitionTime = corev1.ConditionTrue, now()
	pod.Status.Conditions = append(slices.DeleteFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == condition.Type
	}), condition)
}
