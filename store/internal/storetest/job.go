// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package storetest has what the tests of the rooms of store share.
package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// Job is an object of tests: no API object, with a key and content of its own.
type Job struct {
	Name string
	N    int
}

// JobNames are the names of jobs in models. ErrJob is what [JobKey] fails with.
var (
	JobNames = []string{"a", "b", "c", "d"}
	ErrJob   = errors.New("this job has no key")
)

// Key returns the key of j.
func (j Job) Key() store.Key { return store.Key{Name: j.Name} }

// MarshalJSON implements json.Marshaler: equal jobs, equal content.
func (j Job) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "[%q,%d]", j.Name, j.N), nil }

// JobKey is a [store.KeyFunc]. It fails if the number is negative.
func JobKey(j Job) (store.Key, error) {
	if j.N < 0 {
		return store.Key{}, ErrJob
	}
	return j.Key(), nil
}

// Must fails the test if there is an error.
func Must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// MetaOfJob returns the meta of a job in a version.
func MetaOfJob(name, version string) store.Meta {
	return store.Meta{Key: store.Key{Name: name}, UID: "u", Version: version}
}

// NewJob returns the job of a name and a number.
func NewJob(name string, n int) Job { return Job{name, n} }
