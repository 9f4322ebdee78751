// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"

	"go.etcd.io/bbolt"
)

// writer is the only goroutine that writes to the file. A transaction takes as long as
// the disk needs. Changes that arrive meanwhile share the next one. There are at most
// as many as handler calls run at a time.
//
// One writer also keeps the resume version right. A transaction reads it after it has
// written the rows. With two transactions at a time, the older version could be saved
// last.
type writer struct {
	db      *database
	log     *slog.Logger
	changes chan change

	// Owned by the goroutine; printSummary reads them after its end.
	transactions, largest, failures int
}

// change is the write of one handler call.
type change struct {
	// collection names the rows. resumeVersion returns the resume version of the
	// collection, which is saved with them.
	collection    string
	resumeVersion func() string

	// apply changes the rows; nil if only the resume version has moved.
	apply func(rows *bbolt.Bucket) error

	// done receives the result. It has a buffer for it.
	done chan error
}

func newWriter(db *database, log *slog.Logger) *writer {
	return &writer{db: db, log: log, changes: make(chan change)}
}

// errStopped is the error of a change that the end of the program has prevented.
var errStopped = errors.New("the program ends")

// write returns when the change is in the file, or has failed.
func (w *writer) write(ctx context.Context, c change) error {
	c.done = make(chan error, 1)
	select {
	case w.changes <- c:
	case <-ctx.Done():
		return errStopped
	}
	return <-c.done
}

// run writes until stop.
func (w *writer) run() {
	for first := range w.changes {
		group := w.gather(first)
		err := w.commit(group)
		w.note(len(group), err)
		for _, c := range group {
			c.done <- err
		}
	}
}

// stop ends run. The caller must not call write any more.
func (w *writer) stop() { close(w.changes) }

// gather returns first and all waiting changes.
func (w *writer) gather(first change) []change {
	group := []change{first}
	for {
		select {
		case c, open := <-w.changes:
			if !open {
				return group
			}
			group = append(group, c)
		default:
			return group
		}
	}
}

// commit writes a group and the resume versions of its collections in one transaction.
// The group itself is not acknowledged yet, so the resume versions do not count it.
// They can be newer than those saved before.
func (w *writer) commit(group []change) error {
	return w.db.bolt.Update(func(tx *bbolt.Tx) error {
		resumeVersions := map[string]func() string{}
		for _, c := range group {
			rows, err := tx.Bucket(rowsBucket).CreateBucketIfNotExists([]byte(c.collection))
			if err != nil {
				return err
			}
			if c.apply != nil {
				if err := c.apply(rows); err != nil {
					return err
				}
			}
			resumeVersions[c.collection] = c.resumeVersion
		}
		for collection, resumeVersion := range resumeVersions {
			// An empty one is saved too: the previous one is then invalid.
			if err := tx.Bucket(resumeBucket).Put([]byte(collection), []byte(resumeVersion())); err != nil {
				return err
			}
		}
		return nil
	})
}

// note counts, and logs the first, second, fourth, eighth and so on of the failures in
// a row, with the number of those not logged in between.
func (w *writer) note(changes int, err error) {
	if err == nil {
		w.transactions++
		w.largest = max(w.largest, changes)
		w.failures = 0
		return
	}
	if w.failures++; bits.OnesCount(uint(w.failures)) == 1 {
		w.log.Warn("Cannot write, will try again", "file", w.db.path, "changes", changes, "retries", w.failures-1,
			"omitted", max(0, w.failures/2-1), "error", err)
	}
}

func (w *writer) printSummary(lines *printer) {
	lines.line("%s, the largest with %s", count(w.transactions, "transaction"), count(w.largest, "change"))
}

// count returns a text such as "2 objects".
func count[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
