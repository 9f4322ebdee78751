// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestScan(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	var out strings.Builder
	found, err := scan(fstest.MapFS{
		"a/a.go":            file("// The sink is\n// Told of it.\n"),
		"b.md":              file("Nothing, but for this.\n"),
		"c.md":              file("A foretold intelligence.\n"),
		"a/a_test.go":       file("// told\n"),
		"a/testdata/x.md":   file("told\n"),
		".github/readme.md": file("told\n"),
		"a/golden.txt":      file("told\n"),
	}, &out)
	if err != nil || found != 2 || !strings.Contains(out.String(), `a/a.go:2: "Told": objects`) || !strings.Contains(out.String(), `b.md:1: "but for"`) {
		t.Errorf("%d found, %v:\n%s", found, err, out.String())
	}
}
