// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"testing"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// RowOf returns the UID and the version of meta, as a [State] has them.
func RowOf(meta store.Meta) string { return string(meta.UID) + "@" + meta.Version }

// MetaOf returns the meta of obj.
func MetaOf(obj Object) store.Meta {
	return store.Meta{Key: store.Key{Name: obj.Name, Namespace: obj.Namespace}, UID: obj.UID, Version: obj.ResourceVersion}
}

// StateOf is what parseObject reads.
func StateOf(m store.Meta) string {
	if m.UID == "" {
		return m.String()
	}
	return m.Key.String() + "#" + string(m.UID) + "@" + m.Version
}

// Budget returns a budget of lists.
func Budget(t *testing.T, concurrent int, jitter time.Duration) *informer.ListBudget {
	t.Helper()
	b, err := informer.NewListBudget(concurrent, jitter)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
