// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// seedRow is a row of the table in docs/seeds.md.
type seedRow struct {
	line     int
	document string
	name     string
	ours     []string
	status   string
}

var (
	code     = regexp.MustCompile("`([^`]*)`")
	mentions = regexp.MustCompile(`\b(store|cacheview|fifo|poller|corelisters|informer|source|mirror|push|clientgo|resource|pool|status|cells|fakeapi)\.[A-Z]\w*(\.[A-Z]\w*)?`)
	roomName = regexp.MustCompile(`^[a-z]+$`)
)

// Every identifier of the documents has one row.
func TestSeedsAreComplete(t *testing.T) {
	rows := map[string]int{}
	for _, row := range readSeeds(t) {
		rows[row.document+" "+row.name]++
	}
	lists, err := filepath.Glob("testdata/seeds/*.txt")
	if err != nil || len(lists) != 5 {
		t.Fatalf("lists %v, error %v; want five lists", lists, err)
	}
	for _, list := range lists {
		document := strings.TrimSuffix(filepath.Base(list), ".txt")
		data, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range strings.Fields(string(data)) {
			id := document + " " + name
			if rows[id] != 1 {
				t.Errorf("docs/seeds.md has %d rows for %s, want 1", rows[id], id)
			}
			delete(rows, id)
		}
	}
	for id := range rows {
		t.Errorf("docs/seeds.md has a row for %s, which is in none of the lists", id)
	}
}

// What is not planned exists; what is planned names a package only.
func TestSeedsAreTrue(t *testing.T) {
	exist := map[string]bool{}
	for _, room := range []string{"store", "store/corelisters", "store/cacheview", "store/fifo", "store/poller", "informer", "informer/source", "informer/mirror", "informer/push", "informer/clientgo", "resource", "resource/pool", "status", "cells", "fakeapi"} {
		collectNames(t, room, exist)
	}
	for _, row := range readSeeds(t) {
		why, differs := strings.CutPrefix(row.status, "differs: ")
		switch {
		case row.status == "planned":
			for _, ours := range row.ours {
				if !roomName.MatchString(ours) {
					t.Errorf("docs/seeds.md:%d: %s is planned, so ours is a package, not %q", row.line, row.name, ours)
				}
			}
			continue
		case row.status == "there", differs && why != "":
		default:
			t.Errorf("docs/seeds.md:%d: status %q", row.line, row.status)
		}
		for _, ours := range append(row.ours, mentions.FindAllString(why, -1)...) {
			if !exist[ours] {
				t.Errorf("docs/seeds.md:%d: %s: there is no %s", row.line, row.name, ours)
			}
		}
	}
}

func readSeeds(t *testing.T) []seedRow {
	t.Helper()
	data, err := os.ReadFile("docs/seeds.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []seedRow
	for i, line := range strings.Split(string(data), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| document |") {
			continue
		}
		if len(cells) != 4 {
			t.Fatalf("docs/seeds.md:%d: %d columns, want 4", i+1, len(cells))
		}
		row := seedRow{line: i + 1, document: strings.TrimSpace(cells[0]), status: strings.TrimSpace(cells[3])}
		name := code.FindStringSubmatch(cells[1])
		if name == nil {
			t.Fatalf("docs/seeds.md:%d: no identifier", i+1)
		}
		row.name = name[1]
		for _, ours := range code.FindAllStringSubmatch(cells[2], -1) {
			row.ours = append(row.ours, ours[1])
		}
		if len(row.ours) == 0 {
			t.Fatalf("docs/seeds.md:%d: nothing of ours", i+1)
		}
		rows = append(rows, row)
	}
	return rows
}

// collectNames adds what the package in dir exports to names, as
// "package.Name" and "package.Type.Member". A room that is not there has none.
func collectNames(t *testing.T, dir string, names map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			for _, name := range declared(decl) {
				exported := true
				for _, part := range strings.Split(name, ".") {
					exported = exported && ast.IsExported(part)
				}
				if exported {
					names[filepath.Base(dir)+"."+name] = true
				}
			}
		}
	}
}

func declared(decl ast.Decl) (names []string) {
	if f, ok := decl.(*ast.FuncDecl); ok {
		if f.Recv == nil {
			return []string{f.Name.Name}
		}
		return []string{baseName(f.Recv.List[0].Type) + "." + f.Name.Name}
	}
	for _, spec := range decl.(*ast.GenDecl).Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				names = append(names, name.Name)
			}
		case *ast.TypeSpec:
			names = append(names, spec.Name.Name)
			for _, member := range members(spec.Type) {
				names = append(names, spec.Name.Name+"."+member)
			}
		}
	}
	return names
}

// members returns the fields or methods that a type expression lists.
func members(expr ast.Expr) (names []string) {
	var list *ast.FieldList
	switch expr := expr.(type) {
	case *ast.StructType:
		list = expr.Fields
	case *ast.InterfaceType:
		list = expr.Methods
	default:
		return nil
	}
	for _, field := range list.List {
		if len(field.Names) == 0 {
			names = append(names, baseName(field.Type))
		}
		for _, name := range field.Names {
			names = append(names, name.Name)
		}
	}
	return names
}

// baseName returns T of T, *T, p.T, T[X] and T[X, Y].
func baseName(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.Ident:
		return expr.Name
	case *ast.StarExpr:
		return baseName(expr.X)
	case *ast.SelectorExpr:
		return expr.Sel.Name
	case *ast.IndexExpr:
		return baseName(expr.X)
	case *ast.IndexListExpr:
		return baseName(expr.X)
	}
	return ""
}
