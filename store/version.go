// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import "k8s.io/apimachinery/pkg/util/resourceversion"

// CompareVersions compares two resource versions of one resource as integers of any
// length. order is -1 if a is older than b, 0 if they are equal, and 1 if a is newer.
//
// If one of them is not such an integer, ordered is false. It can be empty, "0", or in
// another format of the server. Such versions can only be compared for equality.
func CompareVersions(a, b string) (order int, ordered bool) {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 0, false
	}
	return order, true
}

// Supersedes returns true if version next, from a watch, replaces version held of the same
// object. It does if next is newer, if the two differ and cannot be ordered, or if one of
// them is empty.
func Supersedes(next, held string) bool {
	if next == "" || held == "" {
		return true
	}
	if order, ok := CompareVersions(next, held); ok {
		return order > 0
	}
	return next != held
}
