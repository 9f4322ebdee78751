// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const noFollow = syscall.O_NOFOLLOW

// Umask makes all files and sockets that this process creates later private.
func Umask() { syscall.Umask(0o077) }

// Lock locks the file, and so its directory, for this process. It creates a missing
// file. The system releases the lock when the process ends, for any reason.
func Lock(file string) (*os.File, error) {
	f, err := open(file, os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open the lock of a directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = errors.Join(err, f.Close())
		return nil, fmt.Errorf("directory %s is in use by another devcluster; stop that one or choose another directory: %w", filepath.Dir(file), err)
	}
	return f, nil
}

func checkAccess(path string, info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, not to the current user %d; choose another directory, or change its owner",
			path, s.Uid, os.Geteuid())
	}
	if info.Mode()&0o022 != 0 {
		return fmt.Errorf("other users can write to %s (its mode is %s); choose another directory, or run chmod go-w %s",
			path, info.Mode(), path)
	}
	return nil
}
