// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package private makes directories and files that only this user can reach,
// whatever the umask and whatever stands at their paths.
package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrLink is wrapped by the errors about a path at which a symbolic link stands.
var ErrLink = errors.New("it is a symbolic link, which devcluster does not follow; give the path that it leads to")

// Dir makes the directory, and those above it, if it is missing. It returns an
// error if a symbolic link stands there, if the directory belongs to another
// user, or if others can write to it.
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

// WriteFile writes the file with mode 0600. It replaces what stands there in one
// step, also a symbolic link: a reader, or a start after a kill, finds the old
// file or the new one.
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

// OpenAppend opens the file to append to it. It makes a missing file with mode
// 0600, and returns an error if a symbolic link stands there.
func OpenAppend(path string) (*os.File, error) {
	return open(path, os.O_APPEND|os.O_WRONLY)
}

// open opens the file, makes it if it is missing, and follows no symbolic link.
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
