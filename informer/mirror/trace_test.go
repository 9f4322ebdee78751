// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"testing"

	"github.com/apiary-go/apiary/informer/internal/informertest"
)

// TestMirrorTraces is TestTraces of package informer for the ResourceVersionInformer.
func TestMirrorTraces(t *testing.T) {
	informertest.PlayTraces(t, "testdata/mirror/*.txt", func(t *testing.T, script string) string { return playMirror(t, script).text })
}
