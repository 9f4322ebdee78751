// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"reflect"
	"testing"
	"time"
)

// The location of a time belongs to package time: it is not read, and does not count.
func TestMemoryOfTime(t *testing.T) {
	type timed struct{ at time.Time }
	if got, want := memoryOf(reflect.ValueOf(&timed{time.Now()}), 100), int(reflect.TypeFor[timed]().Size()); got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}
