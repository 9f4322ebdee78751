// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// listed is a package as go list prints it, with or without its tests.
type listed struct {
	ImportPath, ForTest, Dir string
	GoFiles, CgoFiles        []string
	ImportMap                map[string]string
}

// name is the import path of the package that the files are of.
func (l listed) name() string {
	path, _, _ := strings.Cut(l.ImportPath, " ")
	if l.ForTest != "" {
		path = strings.TrimSuffix(path, "_test")
	}
	return path
}

// checkError is an error in a file.
type checkError struct {
	place, message string
	inTest         bool // the file has tests
}

// check checks the types of packages of the module in dir, and of their tests. It goes on
// after an error, so packages that depend on one with errors are checked, too.
func check(dir string, packages []string) (map[string][]checkError, error) {
	args := []string{"list", "-e", "-deps", "-test", "-json=ImportPath,ForTest,Dir,GoFiles,CgoFiles,ImportMap"}
	for _, name := range packages {
		args = append(args, "."+strings.TrimPrefix(name, module))
	}
	out, err := goOutput(dir, args...)
	if err != nil {
		return nil, err
	}
	c := checker{dir: dir, files: token.NewFileSet(), checked: map[string]*types.Package{"unsafe": types.Unsafe}}
	errs := map[string][]checkError{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; { // dependencies come first
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return errs, nil
		} else if err != nil {
			return nil, err
		}
		if l.ImportPath == "unsafe" || strings.HasSuffix(l.ImportPath, ".test") {
			continue
		}
		if !slices.Contains(packages, l.name()) {
			c.check(l, true)
			continue
		}
		errs[l.name()] = append(errs[l.name()], c.check(l, false)...)
	}
}

type checker struct {
	dir     string
	files   *token.FileSet
	checked map[string]*types.Package // by import path
}

// check checks a package whose dependencies were checked, without the bodies of functions if
// shallow.
func (c *checker) check(l listed, shallow bool) []checkError {
	var errs []checkError
	add := func(pos token.Position, message string) {
		file, err := filepath.Rel(c.dir, pos.Filename)
		if err != nil {
			file = pos.Filename
		}
		errs = append(errs, checkError{
			place:   fmt.Sprintf("%s:%d:%d", file, pos.Line, pos.Column),
			message: message,
			inTest:  strings.HasSuffix(file, "_test.go"),
		})
	}
	var files []*ast.File
	for _, name := range append(l.GoFiles, l.CgoFiles...) {
		path := filepath.Join(l.Dir, name)
		file, err := parser.ParseFile(c.files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			add(token.Position{Filename: path}, err.Error())
			continue
		}
		files = append(files, file)
	}
	conf := types.Config{
		IgnoreFuncBodies: shallow,
		FakeImportC:      true,
		Importer:         importer{c.checked, l.ImportMap},
		Sizes:            types.SizesFor("gc", runtime.GOARCH),
		Error: func(err error) {
			if err, ok := errors.AsType[types.Error](err); ok {
				add(err.Fset.Position(err.Pos), err.Msg)
			}
		},
	}
	path, _, _ := strings.Cut(l.ImportPath, " ")
	c.checked[l.ImportPath], _ = conf.Check(path, c.files, files, nil) // Error gets the errors
	return errs
}

// importer finds packages that were checked.
type importer struct {
	checked map[string]*types.Package
	renamed map[string]string // import paths in the code to those of go list
}

// Import implements types.Importer.
func (i importer) Import(path string) (*types.Package, error) {
	if renamed, ok := i.renamed[path]; ok {
		path = renamed
	}
	if pkg := i.checked[path]; pkg != nil {
		return pkg, nil
	}
	return nil, fmt.Errorf("there is no package %s", path)
}
