// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "k8s.io/apimachinery/pkg/util/resourceversion"

// CompareVersions compares two resource versions of one resource as integers
// of any length: -1 if a is older than b, 0 if they are equal, 1 if a is newer.
//
// Where either is not such an integer (empty, "0", or the mark of a server with
// versions of its own) only equality can be told, and ordered is false.
func CompareVersions(a, b string) (order int, ordered bool) {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 0, false
	}
	return order, true
}

// Supersedes reports whether a change to version next, as a watch told it,
// replaces version held of the same object. It does if next is newer, or if
// the two differ and cannot be ordered, or if either is unknown.
func Supersedes(next, held string) bool {
	if next == "" || held == "" {
		return true
	}
	if order, ok := CompareVersions(next, held); ok {
		return order > 0
	}
	return next != held
}
