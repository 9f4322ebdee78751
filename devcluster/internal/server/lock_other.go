// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !unix && !race

package server

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// lock opens the lock file only: this system has no advisory locks, and etcd's
// own lock on its database is what keeps two servers apart.
func lock(dataDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dataDir, wire.LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	return f, nil
}
