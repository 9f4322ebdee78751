// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

// The buckets of the file. It holds the resume versions and the rows, so that one
// transaction can write both.
var (
	aboutBucket  = []byte("about")  // the format and the server of the file
	resumeBucket = []byte("resume") // collection -> version to resume from, or empty
	rowsBucket   = []byte("rows")   // collection -> a bucket: namespace/name -> row

	formatKey = []byte("format")
	serverKey = []byte("server")
)

// format is the format of the rows. It changes with [withoutManagedFields] too: rows of
// unchanged objects are not written again, so files of another format must not be used.
const format = "mirror 1"

// lockTimeout is how long to wait for another program that has the file open.
const lockTimeout = time.Second

// encodeRow returns a row: a UID, a zero byte, a version, a zero byte, and JSON.
func encodeRow(meta store.Meta, json []byte) []byte {
	row := make([]byte, 0, len(meta.UID)+len(meta.Version)+2+len(json))
	row = append(append(row, meta.UID...), 0)
	row = append(append(row, meta.Version...), 0)
	return append(row, json...)
}

var errRow = errors.New("not a row: want UID, version and JSON")

// decodeRow returns the parts of a row. The JSON is part of row, and not decoded.
func decodeRow(key, row []byte) (meta store.Meta, json []byte, err error) {
	uid, rest, ok := bytes.Cut(row, []byte{0})
	version, json, ok2 := bytes.Cut(rest, []byte{0})
	if !ok || !ok2 || len(uid) == 0 || len(version) == 0 || len(json) == 0 {
		return meta, nil, fmt.Errorf("the value of %q: %w", key, errRow)
	}
	meta = store.Meta{UID: types.UID(uid), Version: string(version)}
	meta.Key, err = store.ParseKey(string(key))
	return meta, json, err
}

// database is the file.
type database struct {
	path string
	bolt *bbolt.DB
}

// openDatabase opens the file of a cluster, and creates it if it is missing.
func openDatabase(path, server string) (*database, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createDatabase(path, server); err != nil {
			return nil, fmt.Errorf("create the database %s: %w", path, err)
		}
	}
	db, err := openBolt(path, false)
	if err != nil {
		return nil, err
	}
	if err := db.checkServer(server); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// createDatabase creates the file under another name and renames it. So a file at path
// is always whole, however the program ends.
func createDatabase(path, server string) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bolt, err := bbolt.Open(part, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = bolt.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{aboutBucket, resumeBucket, rowsBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		about := tx.Bucket(aboutBucket)
		return errors.Join(about.Put(formatKey, []byte(format)), about.Put(serverKey, []byte(server)))
	})
	if err := errors.Join(err, bolt.Close()); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// openBolt opens an existing file, and checks that this program has written it.
func openBolt(path string, readOnly bool) (*database, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // bbolt would create the file
	}
	db := &database{path: path}
	err := db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: readOnly})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another program, perhaps another mirror: end that first", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, db.unusable(fmt.Errorf("bbolt: %w", err))
	case err != nil:
		return nil, err
	}
	if err := db.checkFormat(); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// checkFormat fails if another program wrote the file, or if its format is another one.
func (d *database) checkFormat() error {
	return d.view(func(tx *bbolt.Tx) error {
		about := tx.Bucket(aboutBucket)
		if about == nil || tx.Bucket(resumeBucket) == nil || tx.Bucket(rowsBucket) == nil {
			return d.unusable(errors.New("it is a bbolt database of another program"))
		}
		if got := about.Get(formatKey); string(got) != format {
			return d.unusable(fmt.Errorf("its format is %q, and this program has %q", got, format))
		}
		return nil
	})
}

// checkServer fails if the file is of another cluster, whose versions mean nothing
// here.
func (d *database) checkServer(server string) error {
	return d.view(func(tx *bbolt.Tx) error {
		if got := tx.Bucket(aboutBucket).Get(serverKey); string(got) != server {
			return fmt.Errorf("%s is a mirror of %s, and the cluster is %s: name another file with --db", d.path, got, server)
		}
		return nil
	})
}

func (d *database) close() error {
	if err := d.bolt.Close(); err != nil {
		return fmt.Errorf("close the database %s: %w", d.path, err)
	}
	return nil
}

// read calls yield for each row of a collection, ordered by key, and returns the
// version to resume from. It does not load the whole file into memory.
func (d *database) read(collection string, yield func(meta store.Meta, json []byte) error) (resumeVersion string, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		resumeVersion = string(tx.Bucket(resumeBucket).Get([]byte(collection)))
		rows := tx.Bucket(rowsBucket).Bucket([]byte(collection))
		if rows == nil {
			if resumeVersion != "" {
				return d.unusable(fmt.Errorf("%s has a version to resume from, but no rows", collection))
			}
			return nil
		}
		return rows.ForEach(func(key, value []byte) error {
			meta, json, err := decodeRow(key, value)
			if err != nil {
				return d.unusable(fmt.Errorf("%s: %w", collection, err))
			}
			return yield(meta, json)
		})
	})
	return resumeVersion, err
}

func (d *database) view(f func(tx *bbolt.Tx) error) error {
	return d.guard(func() error { return d.bolt.View(f) })
}

// guard turns a panic of bbolt into an error, and a fault of reading beyond the end of
// the file too. bbolt does both with a damaged file.
func (d *database) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = d.unusable(fmt.Errorf("it is damaged or truncated: %v", p))
		}
	}()
	return f()
}

// unusable adds to an error what the user can do.
func (d *database) unusable(err error) error {
	return fmt.Errorf("the database %s cannot be used: %w (name another file with --db, or remove this one to mirror everything again)", d.path, err)
}
