// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/internal/usercode"
)

// StatusReader computes the status of objects of some kinds for a [PollerEngine]. Its
// methods are called from many goroutines.
type StatusReader interface {
	// Supports reports whether the reader is for a kind.
	Supports(schema.GroupKind) bool

	// ReadStatus reads an object and returns its status. An error or a panic becomes
	// the status of this object, and ends nothing else.
	ReadStatus(ctx context.Context, reader ClusterReader, id ID) (ObjectStatus, error)

	// ReadStatusForObject returns the status of an object that was read before.
	ReadStatusForObject(ctx context.Context, reader ClusterReader, obj *unstructured.Unstructured) (ObjectStatus, error)
}

// NewStatusReader returns a StatusReader for all kinds that uses rules. Nil: the rules
// of kstatus. It finds children by the UID of their controller. An error of reading
// them is in ChildrenErr, and the status is computed without them. The mapper is reset
// when it does not know a kind: see [ByMapper].
func NewStatusReader(mapper meta.RESTMapper, rules *Rules) StatusReader {
	return &rulesReader{mapping: ByMapper(mapper), rules: rules, panics: usercode.New("status", nil)}
}

type rulesReader struct {
	mapping MappingFunc
	rules   *Rules
	panics  *usercode.Panics
}

// Supports implements [StatusReader].
func (r *rulesReader) Supports(schema.GroupKind) bool { return true }

// ReadStatus implements [StatusReader].
func (r *rulesReader) ReadStatus(ctx context.Context, reader ClusterReader, id ID) (ObjectStatus, error) {
	m, err := r.mapping(ctx, id.GroupKind, false)
	if err != nil {
		return failure(id, err), nil
	}
	if m.Scope != nil && m.Scope.Name() == meta.RESTScopeNameNamespace && id.Namespace == "" {
		return failure(id, errNamespaceMissing{id}), nil
	}
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(m.GroupVersionKind)
	err = reader.Get(ctx, types.NamespacedName{Namespace: id.Namespace, Name: id.Name}, obj)
	switch {
	case noObject(err):
		return ObjectStatus{ID: id, Status: NotFound, Message: messageNotFound}, nil
	case err != nil:
		return failure(id, err), nil
	}
	return r.ReadStatusForObject(ctx, reader, obj)
}

// noObject reports whether err means that the object does not exist, and not that the
// resource does not.
func noObject(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// ReasonOf returns the reason of a status that is Unknown because of err: an error of
// the server, the network or the mapping, or a missing namespace.
func ReasonOf(err error) Reason { return trouble{cause: informer.CauseOf(err), err: err}.reason() }

// failure returns the status of an object that cannot be read. The text of err is
// redacted.
func failure(id ID, err error) ObjectStatus {
	return ObjectStatus{ID: id, Status: Unknown, Reason: ReasonOf(err), Err: redact.Error(err)}
}

// ReadStatusForObject implements [StatusReader].
func (r *rulesReader) ReadStatusForObject(ctx context.Context, reader ClusterReader, obj *unstructured.Unstructured) (ObjectStatus, error) {
	return r.read(ctx, reader, obj, nil), nil
}

// read returns the status of obj. Its owners have the kinds in path.
func (r *rulesReader) read(ctx context.Context, reader ClusterReader, obj *unstructured.Unstructured, path []schema.GroupKind) ObjectStatus {
	s := ObjectStatus{ID: IDOf(obj), Object: obj}
	if kind := s.ID.GroupKind; !slices.Contains(path, kind) {
		for _, child := range r.rules.Children(kind) {
			owned, err := r.owned(ctx, reader, obj, child)
			s.ChildrenErr = errors.Join(s.ChildrenErr, redact.Error(err))
			for _, obj := range owned {
				s.Children = append(s.Children, r.read(ctx, reader, obj, append(path[:len(path):len(path)], kind)))
			}
		}
	}
	slices.SortFunc(s.Children, func(a, b ObjectStatus) int { return a.ID.Compare(b.ID) })
	result, err := r.rules.Compute(obj, s.Children, time.Now())
	if err != nil {
		r.panics.Report(err)
		s.Status, s.Reason, s.Err = Unknown, RuleError, err
		return s
	}
	s.Status, s.Message = result.Status, result.Message
	return s
}

// ownerReader is a ClusterReader with an index by controller. Its objects are shared.
type ownerReader interface {
	ownedBy(ctx context.Context, gvk schema.GroupVersionKind, namespace string, owner types.UID) ([]*unstructured.Unstructured, error)
}

// owned returns the objects of a kind that obj controls.
func (r *rulesReader) owned(ctx context.Context, reader ClusterReader, obj *unstructured.Unstructured, kind schema.GroupKind) ([]*unstructured.Unstructured, error) {
	m, err := r.mapping(ctx, kind, false)
	if err != nil {
		return nil, err
	}
	if indexed, ok := reader.(ownerReader); ok {
		return indexed.ownedBy(ctx, m.GroupVersionKind, obj.GetNamespace(), obj.GetUID())
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(m.GroupVersionKind.GroupVersion().WithKind(m.GroupVersionKind.Kind + "List"))
	if err := reader.ListNamespaceScoped(ctx, list, obj.GetNamespace(), selectorOf(obj)); err != nil {
		return nil, err
	}
	var owned []*unstructured.Unstructured
	for i := range list.Items {
		if owner := metav1.GetControllerOf(&list.Items[i]); owner != nil && owner.UID == obj.GetUID() {
			owned = append(owned, &list.Items[i])
		}
	}
	return owned, nil
}

// selectorOf returns a selector that matches at least the children of obj.
func selectorOf(obj *unstructured.Unstructured) labels.Selector {
	content, ok, err := unstructured.NestedMap(obj.Object, "spec", "selector")
	if !ok || err != nil {
		return labels.Everything()
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &selector); err != nil {
		return labels.Everything()
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return labels.Everything()
	}
	return parsed
}
