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

	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// ID names an object whose status is of interest. It has no version: the version
// that the server prefers is read. Namespace is empty for a kind without
// namespaces.
type ID struct {
	Namespace string
	Name      string
	GroupKind schema.GroupKind
}

// Key is where the object is stored among those of its kind.
func (id ID) Key() store.Key { return store.Key{Namespace: id.Namespace, Name: id.Name} }

// Compare orders by namespace, group, kind and name.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		strings.Compare(id.Namespace, other.Namespace),
		strings.Compare(id.GroupKind.Group, other.GroupKind.Group),
		strings.Compare(id.GroupKind.Kind, other.GroupKind.Kind),
		strings.Compare(id.Name, other.Name))
}

// String is the text form for people, such as "Deployment.apps shop/web".
func (id ID) String() string { return fmt.Sprintf("%s %s", id.GroupKind, id.Key()) }

// IDOf returns the ID of obj.
func IDOf(obj *unstructured.Unstructured) ID {
	return ID{Namespace: obj.GetNamespace(), Name: obj.GetName(), GroupKind: obj.GroupVersionKind().GroupKind()}
}

// Status is the state of an object on its way to what its spec asks for.
type Status string

const (
	InProgress  Status = "InProgress"  // not there yet
	Failed      Status = "Failed"      // not there, and it will not get there by itself
	Current     Status = "Current"     // there
	Terminating Status = "Terminating" // asked to go, and not gone
	NotFound    Status = "NotFound"    // the server says that there is none
	Unknown     Status = "Unknown"     // cannot be told; see Reason
)

// Reason says why a status is [Unknown].
type Reason string

const (
	NotObserved      Reason = "NotObserved"      // the server has not answered yet
	InvalidID        Reason = "InvalidID"        // the kind has namespaces, and the ID has none
	Forbidden        Reason = "Forbidden"        // reading the object is not allowed
	KindNotInstalled Reason = "KindNotInstalled" // the server has no such kind
	Transient        Reason = "Transient"        // the server cannot be reached, fails, or does not accept the credentials
	RuleError        Reason = "RuleError"        // the object is not what the rule for its kind can read
)

// ObjectStatus is the status of one object. What it refers to, the objects and the
// children, is shared by all who are told of it, and read-only.
type ObjectStatus struct {
	ID     ID
	Status Status

	// Reason is set if the status is Unknown. It is set beside another status if
	// that is the last one known: Transient, see Stale; or KindNotInstalled with
	// NotFound, if the kind has gone with its objects.
	Reason Reason

	// Message says more, for people.
	Message string

	// Err is what kept the status from being told, or from being up to date.
	Err error

	// Stale is since when Status has not been confirmed, for the reason Transient.
	// It is zero if Status is up to date.
	Stale time.Time

	// Object is what the status was computed from, nil if there is none. An
	// [Engine] trims objects to what the rules read. It is shared and must not be
	// modified.
	Object *unstructured.Unstructured

	// Children are the objects that this one controls, in the order of their
	// IDs, as far as the rules for its kind look at them.
	Children []ObjectStatus

	// ChildrenErr is why Children is not complete or not up to date. The status is
	// then what the object tells with those that there are. If these are not up to
	// date, and it may be another one for that, it is stale.
	ChildrenErr error
}

// Equal reports whether the two say the same: ID, status, reason, message,
// generation, the texts of the errors, whether stale, and the same of the
// children. Of the objects nothing but the generation counts.
func (s ObjectStatus) Equal(other ObjectStatus) bool {
	if s.ID != other.ID || s.Status != other.Status || s.Reason != other.Reason || s.Message != other.Message ||
		s.Stale.IsZero() != other.Stale.IsZero() || s.generation() != other.generation() ||
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

// String is one line for people. It shortens what objects and servers say.
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

const messageNotFound = "The object was not found"

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
