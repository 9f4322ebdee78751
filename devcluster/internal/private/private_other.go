// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !unix

package private

import (
	"fmt"
	"io/fs"
	"os"
)

const noFollow = 0

// Umask does nothing: this system has no umask.
func Umask() {}

// Lock only opens the file: this system has no advisory locks. etcd's lock on its
// database prevents two servers on one directory.
func Lock(file string) (*os.File, error) {
	f, err := open(file, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open the lock of a directory: %w", err)
	}
	return f, nil
}

// checkAccess does nothing: this system has no owners and rights in file modes.
func checkAccess(string, fs.FileInfo) error { return nil }
