// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// SameGeneration is for [Distinct]: true if the generation is the same, which changes with
// the spec only. Labels and other metadata do not count. It is false for kinds without a
// generation, such as ConfigMap and Secret.
func SameGeneration[T runtime.Object](a, b T) bool {
	before, err := meta.Accessor(a)
	if err != nil {
		return false
	}
	now, err := meta.Accessor(b)
	return err == nil && before.GetGeneration() == now.GetGeneration() && now.GetGeneration() != 0
}

// SameBy returns a function for [Distinct]: true if the results of f are semantically
// equal, as equality.Semantic of Kubernetes has it. f returns the parts of an object that
// matter, and must not modify it.
//
//	resource.SameBy(func(p *corev1.Pod) any { return []any{p.Labels, p.Spec.NodeName} })
func SameBy[T runtime.Object](f func(T) any) func(a, b T) bool {
	return func(a, b T) bool { return equality.Semantic.DeepEqual(f(a), f(b)) }
}

// SameContent is for [Distinct]: true if the objects are semantically equal except for
// their resourceVersion and managedFields. With a projection, such as source.WithFields,
// only its fields count. It reads the whole objects.
func SameContent[T runtime.Object](a, b T) bool {
	return equality.Semantic.DeepEqual(content(a), content(b))
}

// content returns a copy of an object without the fields that each write changes. Copies of
// API types are shallow.
func content(obj runtime.Object) any {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		metadata, _ := u.Object["metadata"].(map[string]any)
		metadata = maps.Clone(metadata)
		delete(metadata, "resourceVersion")
		delete(metadata, "managedFields")
		object := maps.Clone(u.Object)
		if metadata != nil {
			object["metadata"] = metadata
		}
		return object
	}
	dup := shallow(obj)
	if accessor, err := meta.Accessor(dup); err == nil {
		accessor.SetResourceVersion("")
		accessor.SetManagedFields(nil)
	}
	return dup
}

// shallow returns a shallow copy of a pointer to a struct that contains its ObjectMeta, as
// API types do, and a deep copy of any other object.
func shallow(obj runtime.Object) any {
	v := reflect.ValueOf(obj)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return obj.DeepCopyObject()
	}
	field, ok := v.Elem().Type().FieldByName("ObjectMeta")
	if !ok || len(field.Index) != 1 || field.Type != reflect.TypeFor[metav1.ObjectMeta]() {
		return obj.DeepCopyObject()
	}
	dup := reflect.New(v.Elem().Type())
	dup.Elem().Set(v.Elem())
	return dup.Interface()
}
