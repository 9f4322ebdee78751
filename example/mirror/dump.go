// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.etcd.io/bbolt"

	"github.com/apiary-go/apiary/store"
)

func newDump(o *options, out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "dump --db FILE [resource ...]",
		Short: "Print the key, UID and version of each object in the file",
		Args:  cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			collections, err := parseCollections(o.namespace, args)
			if err != nil {
				return err
			}
			return dump(o.db, collections, out)
		},
	}
}

// dump prints the rows of the given collections, or of all, sorted by key.
func dump(path string, collections []collection, out io.Writer) (err error) {
	db, err := openBolt(path, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	names, err := db.collections()
	if err != nil {
		return err
	}
	if len(collections) > 0 {
		have := names
		names = nil
		for _, c := range collections {
			if !slices.Contains(have, c.String()) {
				return fmt.Errorf("%s has no collection %s: it has %q", path, c, have)
			}
			names = append(names, c.String())
		}
	}
	for _, name := range names {
		if err := dumpCollection(db, name, out); err != nil {
			return err
		}
	}
	return nil
}

func dumpCollection(db *database, name string, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	objects := 0
	resumeVersion, err := db.read(name, func(meta store.Meta, _ []byte) error {
		objects++
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\n", meta.Key, meta.UID, meta.Version)
		return err
	})
	if err != nil {
		return err
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if resumeVersion == "" {
		resumeVersion = "none"
	}
	_, err = fmt.Fprintf(out, "%s: %s, version to resume from: %s\n", name, count(objects, "object"), resumeVersion)
	return err
}

// collections returns the names of all collections in the file, sorted.
func (d *database) collections() (names []string, err error) {
	err = d.view(func(tx *bbolt.Tx) error {
		return tx.Bucket(rowsBucket).ForEachBucket(func(name []byte) error {
			names = append(names, string(name))
			return nil
		})
	})
	return names, err
}
