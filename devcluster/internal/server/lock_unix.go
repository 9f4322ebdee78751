// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix && !race

package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/apiary-go/apiary/devcluster/internal/wire"
)

// lock takes the data directory for this process. The system drops the lock
// when the process ends, however it ends.
func lock(dataDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dataDir, wire.LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		return nil, fmt.Errorf("data directory %s is in use by another devcluster; stop that one or choose another directory: %w", dataDir, err)
	}
	return f, nil
}
