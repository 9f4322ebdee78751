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
	if err != nil || !slices.Equal(packages, []string{"./a"}) {
		t.Errorf("the packages are %q, %v", packages, err)
	}
}

func TestReport(t *testing.T) {
	undefined := "# x\na/a.go:1:2: undefined: resource.Foo\na/a.go:3:2: too many arguments\n"
	results := []result{
		{ImportPath: module + "/a", Error: &struct{ Err string }{undefined}},
		{ImportPath: module + "/a [" + module + "/a.test]", ForTest: module + "/a", Error: &struct{ Err string }{undefined}},
		{ImportPath: module + "/a.test", DepsErrors: []struct{ Err string }{{undefined}}},
		{ImportPath: module + "/b_test [" + module + "/b.test]", ForTest: module + "/b",
			Error: &struct{ Err string }{"b/b_test.go:1:2: undefined: resource.Foo"}},
		{ImportPath: module + "/b"},
		{ImportPath: module + "/c"},
	}
	var out strings.Builder
	report(&out, []string{"./a", "./b", "./c"}, results)
	want := `a/a.go:1:2: undefined: resource.Foo
a/a.go:3:2: too many arguments
b/b_test.go:1:2: undefined: resource.Foo

3 packages; 2 compile, 1 of them with their tests; 3 lines of errors
    2  Foo
    1  too many arguments
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
