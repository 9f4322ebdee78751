// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package check

import "strings"

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
