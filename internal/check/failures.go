// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package check

import (
	"math/bits"
	"strings"
)

// Gist returns the text of err without its digits, so that two failures can be compared:
// ports, versions, durations and timeouts are others each time. It is empty for nil.
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

// IsShown reports whether the count-th of failures that are the same is shown in a log: the
// first, the second, the fourth, the eighth and so on. Omitted is how many were left out
// since the last one that was.
func IsShown(count int) (shown bool, omitted int) {
	if bits.OnesCount(uint(count)) != 1 {
		return false, 0
	}
	return true, max(0, count/2-1)
}
