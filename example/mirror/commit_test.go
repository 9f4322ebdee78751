// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"

	"github.com/apiary-go/apiary/internal/clitest"
	"github.com/apiary-go/apiary/store"
)

// startWriter has a writer run until the end of the test.
func startWriter(t *testing.T, db *database, log *slog.Logger) *writer {
	t.Helper()
	w := newWriter(db, log)
	var wg sync.WaitGroup
	wg.Go(w.run)
	t.Cleanup(func() { w.stop(); wg.Wait() })
	return w
}

func put(name string, resumeVersion func() string) change {
	m := meta(name, "1", "7")
	return change{collection: "pods.v1", resumeVersion: resumeVersion, apply: func(rows *bbolt.Bucket) error {
		return rows.Put([]byte(m.Key.String()), encodeRow(m, []byte("{}")))
	}}
}

// saved returns how many rows there are, and the version to resume from.
func saved(t *testing.T, db *database) (rows int, resumeVersion string) {
	t.Helper()
	resumeVersion, err := db.read("pods.v1", func(store.Meta, []byte) error { rows++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return rows, resumeVersion
}

// What comes during a transaction shares the next one, and is acknowledged by it,
// not before.
func TestGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDatabase(t)
		w := startWriter(t, db, slog.New(slog.DiscardHandler))

		// The resume version is asked for within the transaction: here it waits.
		begun, goOn := make(chan struct{}), make(chan struct{})
		first := put("first", func() string { close(begun); <-goOn; return "1" })
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := w.write(t.Context(), first); err != nil {
				t.Error(err)
			}
		})
		<-begun
		asked := 0
		for i := range 50 {
			wg.Go(func() {
				if err := w.write(t.Context(), put(fmt.Sprint(i), func() string { asked++; return "2" })); err != nil {
					t.Error(err)
				}
				if rows, resumeVersion := saved(t, db); rows != 51 || resumeVersion != "2" {
					t.Errorf("it was acknowledged with %d rows, resume version %q in the file", rows, resumeVersion)
				}
			})
		}
		synctest.Wait()
		if rows, resumeVersion := saved(t, db); rows != 0 || resumeVersion != "" {
			t.Errorf("%d rows and resume version %q are in the file before the first transaction has ended", rows, resumeVersion)
		}
		close(goOn)
		wg.Wait()
		if w.transactions != 2 || w.largest != 50 || asked != 1 {
			t.Errorf("%d transactions, the largest with %d changes; the resume version was asked for %d times", w.transactions, w.largest, asked)
		}
	})
}

// The resume version is the one of after the writes; an empty one replaces what was
// saved, and so does one that comes without a row.
func TestResumeVersion(t *testing.T) {
	db := newDatabase(t)
	w := startWriter(t, db, slog.New(slog.DiscardHandler))
	applied := false
	c := put("a", func() string {
		if !applied {
			t.Error("the resume version was asked for before the write")
		}
		return "5"
	})
	apply := c.apply
	c.apply = func(rows *bbolt.Bucket) error { applied = true; return apply(rows) }
	write := func(c change, want string) {
		t.Helper()
		if err := w.write(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if rows, got := saved(t, db); rows != 1 || got != want {
			t.Errorf("%d rows, resume version %q, want %q", rows, got, want)
		}
	}
	write(c, "5")
	write(put("a", func() string { return "" }), "")
	write(change{collection: "pods.v1", resumeVersion: func() string { return "9" }}, "9")
	write(change{collection: "pods.v1", resumeVersion: func() string { return "" }}, "")
}

// A failed transaction leaves nothing in the file, all changes in it get the error, and
// the next transaction works.
func TestWriteFails(t *testing.T) {
	db := newDatabase(t)
	log := clitest.NewOutput()
	w := startWriter(t, db, slog.New(slog.NewTextHandler(log, nil)))
	refused := errors.New("the disk is full")
	bad := put("bad", func() string { return "5" })
	apply := bad.apply
	bad.apply = func(rows *bbolt.Bucket) error { return errors.Join(apply(rows), refused) }
	for range 5 {
		if err := w.write(t.Context(), bad); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	}
	if rows, resumeVersion := saved(t, db); rows != 0 || resumeVersion != "" {
		t.Errorf("%d rows, resume version %q", rows, resumeVersion)
	}
	if n := strings.Count(log.String(), "the disk is full"); n != 3 {
		t.Errorf("of five failures in a row %d were logged, want the first, second and fourth:\n%s", n, log)
	}
	if err := w.write(t.Context(), put("good", func() string { return "6" })); err != nil {
		t.Error(err)
	}
	if rows, resumeVersion := saved(t, db); rows != 1 || resumeVersion != "6" {
		t.Errorf("%d rows, resume version %q", rows, resumeVersion)
	}
}

// A handler call that waits for its turn ends with its context.
func TestWriteIsStopped(t *testing.T) {
	w := newWriter(newDatabase(t), slog.New(slog.DiscardHandler)) // does not run
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.write(ctx, put("a", func() string { return "" })); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
}
