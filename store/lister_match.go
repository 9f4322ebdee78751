// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// find returns a superset of the objects of l that selector matches, at one point in
// time. match reports whether an object of it matches; it is nil if all do.
func (l Lister[T]) find(selector labels.Selector) (found []cow[*Record[T]], match func(T) bool) {
	if selector != nil && labels.MatchesNothing(selector) {
		return nil, nil
	}
	found = l.store.narrowest(l.lookups(selector))
	if everything(selector) {
		return found, l.keep // found has only objects of the namespace
	}
	return found, l.matcher(selector)
}

// lookups returns the possible lookups. Each finds all objects of l that selector matches.
func (l Lister[T]) lookups(selector labels.Selector) []lookup {
	var lookups []lookup
	if l.namespace != "" {
		lookups = append(lookups, lookup{NamespaceIndex, []string{l.namespace}})
	}
	if everything(selector) || len(l.labelKeys) == 0 {
		return lookups
	}
	requirements, selectable := selector.Requirements()
	if !selectable {
		return lookups
	}
	for _, r := range requirements {
		if demandsValue(r.Operator()) && slices.Contains(l.labelKeys, r.Key()) {
			lookups = append(lookups, lookup{labelIndex(r.Key()), r.Values().UnsortedList()})
		}
	}
	return lookups
}

// demandsValue returns true if a requirement with this operator matches only labels with
// one of its values. Other operators match other objects as well, such as those without
// the label.
func demandsValue(op selection.Operator) bool {
	return op == selection.Equals || op == selection.DoubleEquals || op == selection.In
}

// everything returns true if selector matches all objects.
func everything(selector labels.Selector) bool { return selector == nil || selector.Empty() }

// matcher returns a function that reports whether an object belongs to l and selector
// matches it. The function is nil if this is true for all objects of the store.
func (l Lister[T]) matcher(selector labels.Selector) func(T) bool {
	all := everything(selector)
	if all && l.namespace == "" {
		return l.keep
	}
	return func(obj T) bool {
		m, ok := any(obj).(metav1.Object)
		return ok &&
			(l.namespace == "" || l.namespace == m.GetNamespace()) &&
			(all || selector.Matches(labels.Set(m.GetLabels()))) &&
			(l.keep == nil || l.keep(obj))
	}
}

// labelIndex is the name of the index of the values of a label.
func labelIndex(key string) string { return "label:" + key }

// LabelIndex returns the index by the value of a label that [NewLister] uses: its name, which
// is "label:" and the label, and its function.
func LabelIndex[T any](key string) (name string, f IndexFunc[T]) {
	return labelIndex(key), func(values []string, obj T) ([]string, error) {
		if m, ok := any(obj).(metav1.Object); ok {
			if value, has := m.GetLabels()[key]; has {
				values = append(values, value)
			}
		}
		return values, nil
	}
}
