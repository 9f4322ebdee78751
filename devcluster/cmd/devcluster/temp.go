// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apiary-go/apiary/devcluster/internal/private"
)

const (
	// tempName is the name of the directory that devcluster makes in an existing one.
	tempName = "devcluster"
	// tempMark is a file in every directory that devcluster made. A process that uses
	// the directory holds a lock on it.
	tempMark     = ".devcluster"
	tempMarkText = "A devcluster made this directory, and removes it with all that is in it.\n"
)

// tempDir is the directory of everything temporary, mode 0700.
type tempDir struct {
	path string
	made bool     // this process made it, not an earlier one
	lock *os.File // held open until the process ends
}

// openTemp makes the temporary directory, or opens the one that an earlier
// devcluster left for a restart. The path is short because it contains a socket.
func openTemp(dir string) (*tempDir, error) {
	if dir == "" {
		path, err := os.MkdirTemp("", "devcluster-")
		if err != nil {
			return nil, fmt.Errorf("make a temporary directory (see $TMPDIR): %w", err)
		}
		return &tempDir{path: path, made: true}, nil
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolve the path of the temporary directory: %w", err)
	}
	inner := filepath.Join(dir, tempName)
	for _, path := range []string{dir, inner} {
		t := &tempDir{path: path}
		err := os.Mkdir(path, 0o700)
		if t.made = err == nil; t.made {
			err = private.WriteFile(t.mark(), []byte(tempMarkText))
		} else if errors.Is(err, fs.ErrExist) {
			if !t.marked() {
				continue
			}
			err = private.Dir(path)
		}
		if err == nil {
			t.lock, err = private.Lock(t.mark())
		}
		if err != nil {
			err = fmt.Errorf("make the temporary directory: %w", err)
			if t.made {
				err = errors.Join(err, t.remove())
			}
			return nil, err
		}
		return t, nil
	}
	return nil, fmt.Errorf("%s exists and was not made by devcluster; move it away or choose another --temp-dir", inner)
}

func (t *tempDir) mark() string { return filepath.Join(t.path, tempMark) }

// marked returns true if a devcluster made the directory.
func (t *tempDir) marked() bool {
	info, err := os.Lstat(t.mark())
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	text, err := os.ReadFile(t.mark())
	return err == nil && strings.HasPrefix(string(text), tempMarkText)
}

// checkOutside returns an error if the path of a flag, which is kept, is in the
// temporary directory.
func (t *tempDir) checkOutside(flag, path string) error {
	temp, err := filepath.EvalSymlinks(t.path)
	if err != nil {
		return fmt.Errorf("resolve the path of the temporary directory: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("resolve the path of %s: %w", flag, err)
	}
	// The end of the path may be missing.
	there, err := filepath.EvalSymlinks(path)
	for up := path; errors.Is(err, fs.ErrNotExist) && up != filepath.Dir(up); {
		up = filepath.Dir(up)
		there, err = filepath.EvalSymlinks(up)
	}
	if err != nil {
		return fmt.Errorf("resolve the path of %s: %w", flag, err)
	}
	if rel, err := filepath.Rel(temp, there); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("%s %s is in the temporary directory %s, which is removed at the end; choose another path", flag, path, t.path)
	}
	return nil
}

func (t *tempDir) remove() error {
	var err error
	for range 10 { // an etcd that still runs can make a file meanwhile
		if err = os.RemoveAll(t.path); err == nil {
			return nil
		}
	}
	return fmt.Errorf("remove the temporary directory: %w", err)
}
