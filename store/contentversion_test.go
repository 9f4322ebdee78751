// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"testing"

	"github.com/apiary-go/apiary/store"
)

func TestContentVersion(t *testing.T) {
	version := func(obj any) string {
		t.Helper()
		v, err := store.ContentVersion(obj)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	a := version(&thing{Tags: []string{"a"}})
	if again := version(&thing{Tags: []string{"a"}}); again != a {
		t.Errorf("equal content has the versions %q and %q", a, again)
	}
	if b := version(&thing{Tags: []string{"b"}}); b == a {
		t.Errorf("different content has the same version %q", a)
	}
	if _, ordered := store.CompareVersions(a, version(1)); ordered {
		t.Error("versions of contents are ordered")
	}
	if _, err := store.ContentVersion(func() {}); err == nil {
		t.Error("a function has a version")
	}
}
