// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package check

import (
	"math/bits"
	"strings"
)

// Gist returns the text of err without digits, to compare two failures: ports, versions and
// durations differ each time. It is empty for nil.
func Gist(err error) string {
	if err == nil {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
}

// RequestGist is [Gist] for the failures of a request that is repeated. A streamed list
// reads like a list, since they take turns.
func RequestGist(err error) string {
	return strings.ReplaceAll(Gist(err), "streamed list of ", "list ")
}

// IsShown returns true if the count-th of equal failures must be logged: the first, second,
// fourth, eighth and so on. omitted is the number of failures since the last logged one.
func IsShown(count int) (shown bool, omitted int) {
	if bits.OnesCount(uint(count)) != 1 {
		return false, 0
	}
	return true, max(0, count/2-1)
}
