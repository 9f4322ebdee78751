// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	takeOverKlog() // while nobody logs
	goleak.VerifyTestMain(m)
}
