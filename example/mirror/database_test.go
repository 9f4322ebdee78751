// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

const server = "https://cluster.invalid"

func open(t *testing.T, path string) *database {
	t.Helper()
	db, err := openDatabase(path, server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "mirror.db"))
}

func meta(name, uid, version string) (m store.Meta) {
	m.Key = store.Key{Namespace: "shop", Name: name}
	m.UID, m.Version = types.UID(uid), version
	return m
}

// edit changes the file behind the program's back.
func edit(t *testing.T, db *database, f func(tx *bbolt.Tx) error) {
	t.Helper()
	if err := db.bolt.Update(f); err != nil {
		t.Fatal(err)
	}
}

func putRow(collection, key, row, resume string) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		rows, err := tx.Bucket(rowsBucket).CreateBucketIfNotExists([]byte(collection))
		if err != nil {
			return err
		}
		if err := rows.Put([]byte(key), []byte(row)); err != nil {
			return err
		}
		return tx.Bucket(resumeBucket).Put([]byte(collection), []byte(resume))
	}
}

func TestRows(t *testing.T) {
	db := newDatabase(t)
	want := []store.Meta{meta("a", "1", "7"), meta("b", "2", "6"), {Key: store.Key{Name: "node"}, UID: "3", Version: "8"}}
	for _, m := range want {
		edit(t, db, putRow("pods.v1", m.Key.String(), string(encodeRow(m, []byte(`{"a":"b\u0000"}`))), "5"))
	}
	edit(t, db, putRow("shop/pods.v1", "shop/z", string(encodeRow(meta("z", "4", "1"), []byte("{}"))), ""))
	var got []store.Meta
	version, err := db.read("pods.v1", func(m store.Meta, json []byte) error {
		if string(json) != `{"a":"b\u0000"}` {
			t.Errorf("%v has %q", m, json)
		}
		got = append(got, m)
		return nil
	})
	slices.SortFunc(want, func(a, b store.Meta) int { return strings.Compare(a.Key.String(), b.Key.String()) })
	if err != nil || version != "5" || !slices.Equal(got, want) {
		t.Errorf("got %v at %q, %v, want %v", got, version, err, want)
	}
	if version, err := db.read("nodes.v1", nil); version != "" || err != nil {
		t.Errorf("a collection that was never mirrored: %q, %v", version, err)
	}
}

// What cannot be read is said before anything is asked of the server, with what to
// do about it.
func TestUnreadable(t *testing.T) {
	whole := string(encodeRow(meta("a", "1", "7"), []byte("{}")))
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		want   string
	}{
		"a value that is not a row": {inFile(putRow("pods.v1", "shop/a", "{}", "5")), `pods.v1: the value of "shop/a"`},
		"an empty value":            {inFile(putRow("pods.v1", "shop/a", "", "5")), `pods.v1: the value of "shop/a"`},
		"a value that is cut off":   {inFile(putRow("pods.v1", "shop/a", whole[:len(whole)-2], "5")), `pods.v1: the value of "shop/a"`},
		"a key that is none":        {inFile(putRow("pods.v1", "shop/a/b", whole, "5")), `"shop/a/b"`},
		"no rows": {inFile(func(tx *bbolt.Tx) error {
			return tx.Bucket(resumeBucket).Put([]byte("pods.v1"), []byte("5"))
		}), "pods.v1 has a version to resume from, but no rows"},
		"another format": {inFile(func(tx *bbolt.Tx) error {
			return tx.Bucket(aboutBucket).Put(formatKey, []byte("mirror 0"))
		}), `its format is "mirror 0"`},
		"a database of another program": {inFile(func(tx *bbolt.Tx) error { return tx.DeleteBucket(aboutBucket) }), "of another program"},
		"no database":                   {overwritten(0, "shopping list\n"), "invalid database"},
		"no database, and large":        {overwritten(0, strings.Repeat("shopping list\n", 10000)), "invalid database"},
		"damaged pages":                 {overwritten(2*4096, strings.Repeat("?", 100*4096)), "damaged"},
		"truncated": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 3*4096); err != nil {
				t.Fatal(err)
			}
		}, "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "mirror.db")
			db, err := openDatabase(path, server)
			if err != nil {
				t.Fatal(err)
			}
			edit(t, db, putRow("services.v1", "shop/web", whole, "5"))
			if err := db.close(); err != nil {
				t.Fatal(err)
			}
			test.damage(t, path)
			if err = read(path); err == nil {
				t.Fatal("there was no error")
			}
			for _, part := range []string{path, test.want, "remove this one"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q is not in: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one error: %v", err)
			}
		})
	}
}

// read is what the program does with the file at its start.
func read(path string) error {
	db, err := openDatabase(path, server)
	if err != nil {
		return err
	}
	for _, c := range []string{"pods.v1", "services.v1"} {
		if _, err := db.read(c, func(store.Meta, []byte) error { return nil }); err != nil {
			_ = db.close()
			return err
		}
	}
	return db.close()
}

func inFile(f func(tx *bbolt.Tx) error) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		db, err := openBolt(path, false)
		if err != nil {
			t.Fatal(err)
		}
		edit(t, db, f)
		if err := db.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func overwritten(offset int64, text string) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if offset == 0 {
			if err := file.Truncate(0); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := file.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
}

// A file of one cluster is not used for another one, and not by two programs.
func TestWrongFile(t *testing.T) {
	db := newDatabase(t)
	if _, err := openDatabase(db.path, server); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second program: %v", err)
	}
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := openDatabase(db.path, "https://other.invalid"); err == nil || !strings.Contains(err.Error(), "is a mirror of "+server) {
		t.Errorf("another cluster: %v", err)
	}
	if _, err := openBolt(db.path+"x", true); err == nil {
		t.Error("there is no such file, and it was opened")
	}
}

// A program that was killed while it made the file leaves none of this name.
func TestHalfMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mirror.db")
	if err := os.WriteFile(path+".new", make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("what was left is still there")
	}
}
