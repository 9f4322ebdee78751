// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// profile starts a CPU profile of a part of the task, if there is a directory for
// profiles, and returns a function that ends it. The figures of the process include the
// cost of the profile.
func (t wireTask) profile(part string) (end func() error, err error) {
	if t.Profiles == "" {
		return func() error { return nil }, nil
	}
	name := fmt.Sprintf("%s-%s-%d-%d-%s.prof", t.Contestant, t.Form, t.Objects, t.Subscribers, part)
	file, err := os.Create(filepath.Join(t.Profiles, strings.NewReplacer(" ", "-", ",", "").Replace(name)))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}
