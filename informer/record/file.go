// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"compress/gzip"
	"errors"
	"os"
	"strings"
	"sync"
	"time"
)

// syncEvery is how often the lines of an open watch are forced out of the compression.
const syncEvery = time.Second

// File is a file for [NewSource]. Its methods can be called from any goroutine.
type File struct {
	path string

	mu     sync.Mutex
	file   *os.File
	zip    *gzip.Writer // nil: not compressed
	synced time.Time
	closed bool
}

// NewFile returns a File. The first Write creates it, or truncates it if it exists. Only its
// owner can read it. A name that ends in .gz compresses it. The end of the process can then lose
// the last lines of an open watch.
func NewFile(path string) *File { return &File{path: path} }

// Write implements io.Writer.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return 0, os.ErrClosed
	case f.file == nil:
		file, err := os.OpenFile(f.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		if f.file = file; strings.HasSuffix(f.path, ".gz") {
			f.zip = gzip.NewWriter(file)
		}
	}
	if f.zip == nil {
		return f.file.Write(p)
	}
	n, err := f.zip.Write(p)
	if now := time.Now(); err == nil && now.Sub(f.synced) >= syncEvery {
		f.synced = now
		err = f.zip.Flush()
	}
	return n, err
}

// Flush writes what is buffered for compression to the file.
func (f *File) Flush() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.zip == nil || f.closed {
		return nil
	}
	return f.zip.Flush()
}

// Close closes the file. Later writes fail with os.ErrClosed.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.file == nil {
		f.closed = true
		return nil
	}
	f.closed = true
	var err error
	if f.zip != nil {
		err = f.zip.Close()
	}
	return errors.Join(err, f.file.Close())
}
