// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// ID identifies an object. It has no version: the version that the server prefers is
// read. Namespace is empty for a cluster-scoped kind, or has no meaning. A namespaced
// kind without one is an error, with the reason [InvalidID].
type ID struct {
	Namespace string
	Name      string
	GroupKind schema.GroupKind
}

// Key returns the key of the object among the objects of its kind.
func (id ID) Key() store.Key { return store.Key{Namespace: id.Namespace, Name: id.Name} }

// Compare orders by namespace, group, kind and name.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		strings.Compare(id.Namespace, other.Namespace),
		strings.Compare(id.GroupKind.Group, other.GroupKind.Group),
		strings.Compare(id.GroupKind.Kind, other.GroupKind.Kind),
		strings.Compare(id.Name, other.Name))
}

// String returns a text for people, such as "Deployment.apps shop/web".
func (id ID) String() string { return fmt.Sprintf("%s %s", id.GroupKind, id.Key()) }

// IDOf returns the ID of obj.
func IDOf(obj *unstructured.Unstructured) ID {
	return ID{Namespace: obj.GetNamespace(), Name: obj.GetName(), GroupKind: obj.GroupVersionKind().GroupKind()}
}

// Status says how far an object is from the state that its spec asks for.
type Status string

const (
	InProgress  Status = "InProgress"  // the object has not reached the state yet
	Failed      Status = "Failed"      // the object will not reach the state by itself
	Current     Status = "Current"     // the object has reached the state
	Terminating Status = "Terminating" // the object is being deleted
	NotFound    Status = "NotFound"    // the server does not have the object
	Unknown     Status = "Unknown"     // the status could not be computed; see Reason
)

// Reason is why a status is [Unknown].
type Reason string

const (
	NotObserved      Reason = "NotObserved"      // the server has not answered yet
	InvalidID        Reason = "InvalidID"        // the kind is namespaced, and the ID has no namespace; it ends a wait
	Forbidden        Reason = "Forbidden"        // the client is not allowed to read the object
	KindNotInstalled Reason = "KindNotInstalled" // the server does not serve the kind
	Transient        Reason = "Transient"        // the server is unreachable, fails, or rejects the credentials
	RuleError        Reason = "RuleError"        // the rule for the kind failed, for example on a malformed object
)

// ObjectStatus is the status of one object. Its objects and children are shared by all
// receivers and must not be modified.
type ObjectStatus struct {
	ID     ID
	Status Status

	// Reason is set if the status is Unknown. Beside another status it is Transient if
	// that status is Stale, or KindNotInstalled with NotFound if the kind is no longer
	// installed.
	Reason Reason

	// Message is a text for people.
	Message string

	// Err is why the status could not be computed, or why it is not up to date.
	Err error

	// Stale is the time since which Status is not confirmed. The Reason is then
	// Transient. Zero: Status is up to date.
	Stale time.Time

	// Object is the object that the status was computed from, or nil. An [Engine] trims
	// objects to the fields that the rules read: see [Rules.Trim].
	Object *unstructured.Unstructured

	// Children are the objects that this object controls, ordered by ID, of the kinds that
	// [Rules.Children] returns. Not every rule looks at them.
	Children []ObjectStatus

	// ChildrenErr is why Children is not complete or not up to date. The status is then
	// computed from the children that are known. It is Stale if newer children could
	// change it.
	ChildrenErr error
}

// Equal reports whether s and other have the same ID, status, reason, message, UID,
// generation, error texts and children, and whether both or neither are stale. It
// compares nothing else of the objects.
func (s ObjectStatus) Equal(other ObjectStatus) bool {
	if s.ID != other.ID || s.Status != other.Status || s.Reason != other.Reason || s.Message != other.Message ||
		s.Stale.IsZero() != other.Stale.IsZero() || s.generation() != other.generation() || s.uid() != other.uid() ||
		text(s.Err) != text(other.Err) || text(s.ChildrenErr) != text(other.ChildrenErr) || len(s.Children) != len(other.Children) {
		return false
	}
	for i := range s.Children {
		if !s.Children[i].Equal(other.Children[i]) {
			return false
		}
	}
	return true
}

// String returns one line for people. It shortens long texts of objects and servers.
func (s ObjectStatus) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", s.ID, s.Status)
	if s.Reason != "" {
		fmt.Fprintf(&b, " (%s)", s.Reason)
	}
	switch {
	case s.Message != "":
		fmt.Fprintf(&b, ": %s", redact.Text(s.Message))
	case s.Err != nil:
		fmt.Fprintf(&b, ": %v", redact.Error(s.Err))
	}
	return b.String()
}

func (s ObjectStatus) generation() int64 {
	if s.Object == nil {
		return 0
	}
	return s.Object.GetGeneration()
}

func (s ObjectStatus) uid() types.UID {
	if s.Object == nil {
		return ""
	}
	return s.Object.GetUID()
}

const messageNotFound = "The object was not found"

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
