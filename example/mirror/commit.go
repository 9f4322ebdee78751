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

// writer is the one goroutine that writes to the file. A transaction takes as long
// as the disk needs, so it has all the changes that came during the one before it;
// there are no more of these than there are handler calls at a time.
//
// One writer is also what keeps the resume version right. It is read within the
// transaction, after the rows were written; two transactions at a time could save
// the one that was read first last.
type writer struct {
	db      *database
	log     *slog.Logger
	changes chan change

	// Of the goroutine, for printSummary after its end.
	transactions, largest, failures int
}

// change is what one handler call has to write.
type change struct {
	// collection is whose rows it is about, and resumeVersion asks for its
	// resume version, which is saved along with it.
	collection    string
	resumeVersion func() string

	// apply changes the rows; nil if only the resume version has moved.
	apply func(rows *bbolt.Bucket) error

	// done is told what came of it, and has room for that.
	done chan error
}

func newWriter(db *database, log *slog.Logger) *writer {
	return &writer{db: db, log: log, changes: make(chan change)}
}

// errStopped is the error of changes that the end of the program was faster than.
var errStopped = errors.New("the program ends")

// write returns once the change is in the file, or failed.
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

// stop ends run. Nobody may call write any more.
func (w *writer) stop() { close(w.changes) }

// gather returns what waits to be written.
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

// commit writes a group, and the resume versions of its collections, in one
// transaction. The changes themselves are not acknowledged yet, so these versions
// are those from before them; they may be newer than what was saved last.
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
			// An empty one is written as well: the one from before is then
			// of no use any more.
			if err := tx.Bucket(resumeBucket).Put([]byte(collection), []byte(resumeVersion())); err != nil {
				return err
			}
		}
		return nil
	})
}

// note counts, and logs failures: of those in a row the first, the second, the
// fourth and so on, with how many were left out before.
func (w *writer) note(changes int, err error) {
	if err == nil {
		w.transactions++
		w.largest = max(w.largest, changes)
		w.failures = 0
		return
	}
	if w.failures++; bits.OnesCount(uint(w.failures)) == 1 {
		w.log.Warn("Cannot write, will try again", "file", w.db.path, "changes", changes, "failures", w.failures,
			"omitted", max(0, w.failures/2-1), "error", err)
	}
}

func (w *writer) printSummary(lines *printer) {
	lines.line("%s, the largest with %s", count(w.transactions, "transaction"), count(w.largest, "change"))
}

// count says how many there are of a thing.
func count[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
