// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What plays an API server for tests says in its comment why it is not fakeapi, which
// CONTRIBUTING.md asks for. These are the types of tests with a method of a transport, a
// handler, a ListerWatcher or a Source that does not pass requests on.
func TestServersOfTestsSayWhy(t *testing.T) {
	answers := []string{"RoundTrip", "ServeHTTP", "Watch", "WatchWithContext"}
	said, found := map[string]bool{}, 0
	var servers []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		shared := strings.Contains(path, "informertest") || strings.Contains(path, "servertest") || strings.HasPrefix(path, "test")
		if err != nil || !strings.HasSuffix(path, ".go") || !shared && !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						said[filepath.Join(filepath.Dir(path), spec.Name.Name)] = strings.Contains(decl.Doc.Text(), "fakeapi")
					}
				}
			case *ast.FuncDecl:
				if decl.Recv != nil && slices.Contains(answers, decl.Name.Name) && !passesOn(decl.Body, answers) {
					servers = append(servers, filepath.Join(filepath.Dir(path), receiver(decl.Recv.List[0].Type)))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range servers {
		if found++; !said[server] {
			t.Errorf("the comment of %s does not say why it is not fakeapi", server)
		}
	}
	if found < 10 {
		t.Errorf("only %d servers were found", found)
	}
}

// passesOn returns true if a method calls a method of another server.
func passesOn(body *ast.BlockStmt, names []string) (calls bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			selector, ok := call.Fun.(*ast.SelectorExpr)
			calls = calls || ok && slices.Contains(names, selector.Sel.Name)
		}
		return true
	})
	return calls
}

// receiver returns the name of the type of a receiver.
func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
