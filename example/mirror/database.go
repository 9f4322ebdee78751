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

// The buckets of the file. The resume version of a collection lies beside its rows,
// in the same file, so that one transaction can write both.
var (
	aboutBucket  = []byte("about")  // what the file is: the keys below
	resumeBucket = []byte("resume") // collection -> version to resume from, empty if there is none
	rowsBucket   = []byte("rows")   // collection -> a bucket: namespace/name -> row

	formatKey = []byte("format")
	serverKey = []byte("server")
)

// format is that of the rows, [withoutManagedFields] included: an object that has
// not changed is not written again, so a file of another format must not be used.
const format = "mirror 1"

// lockTimeout is how long another program is waited for that has the file open.
const lockTimeout = time.Second

// A row is a UID, a version and JSON, of which the first two are ended by a zero
// byte.
func encodeRow(meta store.Meta, json []byte) []byte {
	row := make([]byte, 0, len(meta.UID)+len(meta.Version)+2+len(json))
	row = append(append(row, meta.UID...), 0)
	row = append(append(row, meta.Version...), 0)
	return append(row, json...)
}

var errRow = errors.New("it is not a row: want UID, version and JSON")

// decodeRow returns what is in a row. The JSON is part of row, and not looked at.
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

// openDatabase opens the file of a cluster, and makes it if there is none.
func openDatabase(path, server string) (*database, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := createDatabase(path, server); err != nil {
			return nil, fmt.Errorf("make the database %s: %w", path, err)
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

// createDatabase makes the file under another name first, so that one of this name
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

// openBolt opens a file that is there, and checks that it is one of this program.
func openBolt(path string, readOnly bool) (*database, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err // else it would be made
	}
	db := &database{path: path}
	err := db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, ReadOnly: readOnly})
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("%s is in use by another program, such as a mirror that runs: end that first", path)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, db.unusable(fmt.Errorf("bbolt says: %w", err))
	case err != nil:
		return nil, err
	}
	if err := db.checkFormat(); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

// checkFormat fails if this program did not write the file, or wrote it in another
// format.
func (d *database) checkFormat() error {
	return d.view(func(tx *bbolt.Tx) error {
		about := tx.Bucket(aboutBucket)
		if about == nil || tx.Bucket(resumeBucket) == nil || tx.Bucket(rowsBucket) == nil {
			return d.unusable(errors.New("it is a bbolt database, but not of this program"))
		}
		if got := about.Get(formatKey); string(got) != format {
			return d.unusable(fmt.Errorf("its format is %q, and this program has %q", got, format))
		}
		return nil
	})
}

// checkServer fails if the file is of another cluster. Its versions would mean
// nothing to this one.
func (d *database) checkServer(server string) error {
	return d.view(func(tx *bbolt.Tx) error {
		if got := tx.Bucket(aboutBucket).Get(serverKey); string(got) != server {
			return fmt.Errorf("%s is a mirror of %s, and the cluster is %s now: name another file with --db", d.path, got, server)
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

// read calls yield for each row of a collection, in the order of keys, and returns
// the version to resume from. The whole file may be larger than the memory.
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

// guard turns a panic of bbolt into an error, that of reading beyond the end of the
// file included: this is how it meets a file that is damaged.
func (d *database) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = d.unusable(fmt.Errorf("it is damaged or cut off: %v", p))
		}
	}()
	return f()
}

// unusable says what to do about a file that cannot be used.
func (d *database) unusable(err error) error {
	return fmt.Errorf("the database %s cannot be used: %w (name another file with --db, or remove this one: all is then mirrored anew)", d.path, err)
}
