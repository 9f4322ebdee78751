// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"

	"github.com/apiary-go/apiary/store"
)

// job is what these tests queue.
type job struct {
	name string
	n    int
}

var (
	jobNames = []string{"a", "b", "c", "d"}
	errJob   = errors.New("this job has no key")
)

func (j job) key() store.Key { return store.Key{Name: j.name} }

func jobKey(j job) (store.Key, error) {
	if j.n < 0 {
		return store.Key{}, errJob
	}
	return j.key(), nil
}

func newFIFO(t interface{ Fatal(...any) }) *store.FIFO[job] {
	f, err := store.NewFIFO(jobKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
