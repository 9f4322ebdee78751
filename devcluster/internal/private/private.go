// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package private creates directories and files that only the current user can
// access, whatever the umask and whatever exists at their paths.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink is wrapped by the errors about a path that is a symbolic link.
var ErrLink = errors.New("it is a symbolic link, which devcluster does not follow; use the path of its target")

// Dir creates the directory, and its parents, if they are missing. It returns an
// error if the path is a symbolic link, if the directory belongs to another user, or
// if others can write to it.
func Dir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return fmt.Errorf("%s: %w", path, ErrLink)
	}
	return checkAccess(path, info)
}

// WriteFile writes the file with mode 0600. It replaces an existing file, or a
// symbolic link, in one step: a reader, or a start after a kill, finds the old file
// or the new one.
func WriteFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = f.Chmod(0o600) // the umask may have taken more away
	if err == nil {
		_, err = f.Write(data)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// OpenAppend opens the file for appending. It creates a missing file with mode 0600,
// and returns an error if the path is a symbolic link.
func OpenAppend(path string) (*os.File, error) {
	return open(path, os.O_APPEND|os.O_WRONLY)
}

// open opens or creates the file. It follows no symbolic link.
func open(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|os.O_CREATE|noFollow, 0o600)
	if err == nil {
		return f, nil
	}
	if info, e := os.Lstat(path); e == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = fmt.Errorf("%s: %w", path, ErrLink)
	}
	return nil, err
}
