// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestChangeImports(t *testing.T) {
	dir := t.TempDir()
	for path, test := range map[string]struct{ code, want string }{
		"a/a.go":                       {"import (\n\t\"" + theirs + "\"\n)", "import (\n\tresource \"new\"\n)"},
		"a/a_test.go":                  {`import k8s "` + theirs + `"`, `import k8s "new"`},
		"b/b.go":                       {"import (\n\t\"" + theirs + "/example\"\n)", ""},
		"pkg/k8s/resource/resource.go": {`import "` + theirs + `"`, ""},
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(test.code), 0o666); err != nil {
			t.Fatal(err)
		}
		defer func() {
			got, err := os.ReadFile(path)
			if want := cmp.Or(test.want, test.code); err != nil || string(got) != want {
				t.Errorf("%s is %q, want %q; %v", path, got, want, err)
			}
		}()
	}
	packages, err := changeImports(dir, "new")
	if err != nil || !slices.Equal(packages, []string{module + "/a"}) {
		t.Errorf("the packages are %q, %v", packages, err)
	}
}

func TestReport(t *testing.T) {
	undefined := checkError{"a/a.go:1:2", "undefined: resource.Foo", false}
	errs := map[string][]checkError{
		"a": {undefined, {"a/a.go:3:2", "too many arguments", false}, undefined},
		"b": {{"b/b_test.go:1:2", `x does not implement "example.com/new/resource".Foo`, true}},
	}
	var out strings.Builder
	report(&out, []string{"a", "b", "c"}, errs)
	want := `a/a.go:1:2: undefined: resource.Foo
a/a.go:3:2: too many arguments
b/b_test.go:1:2: x does not implement "example.com/new/resource".Foo

3 packages; 2 compile, 1 of them with their tests; 3 lines of errors
    2  Foo
    1  too many arguments
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// A package is checked with its tests, and after errors in what it imports.
func TestCheck(t *testing.T) {
	dir := t.TempDir()
	for path, code := range map[string]string{
		"go.mod":         "module " + module + "\n\ngo 1.26\n",
		"a/a.go":         "package a\n\nvar X int = \"x\"\n\nfunc F() { undefined() }\n",
		"b/b.go":         "package b\n\nimport \"" + module + "/a\"\n\nvar Y string = a.X\n",
		"b/b_test.go":    "package b_test\n\nimport \"" + module + "/b\"\n\nvar Z int = b.Z\n",
		"deep/broken.go": "package deep\n\nfunc F() { undefined() }\n",
		"c/c.go":         "package c\n\nimport _ \"" + module + "/deep\"\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(code), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	errs, err := check(dir, []string{module + "/a", module + "/b", module + "/c"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{"a", "b", "c"} {
		for _, e := range errs[module+"/"+name] {
			got = append(got, e.place)
		}
	}
	want := []string{"a/a.go:3:13", "a/a.go:5:12", "b/b.go:5:16", "b/b_test.go:5:15"}
	if !slices.Equal(slices.Compact(got), want) {
		t.Errorf("errors at %q, want %q", got, want)
	}
}
