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

// Lock opens the file only: this system has no advisory locks, and etcd's own
// lock on its database is what keeps two servers apart.
func Lock(file string) (*os.File, error) {
	f, err := open(file, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open the lock of a directory: %w", err)
	}
	return f, nil
}

// checkAccess finds nothing: this system does not show owners and rights as modes.
func checkAccess(string, fs.FileInfo) error { return nil }
