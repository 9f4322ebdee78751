// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```")

// Every block of Go in these documents stands in an example_test.go of the
// repository, so that it compiles; white space does not count.
func TestSnippetsCompile(t *testing.T) {
	examples := readExamples(t)
	guides, _ := filepath.Glob("docs/*.md")
	for _, document := range append(guides, "README.md", "CONTRIBUTING.md") {
		data, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range goBlock.FindAllSubmatchIndex(data, -1) {
			snippet := normalised(string(data[at[2]:at[3]]))
			found := false
			for _, example := range examples {
				found = found || strings.Contains(example, snippet)
			}
			if !found {
				line := 1 + strings.Count(string(data[:at[0]]), "\n")
				t.Errorf("%s:%d: this snippet is in no example_test.go", document, line)
			}
		}
	}
}

func readExamples(t *testing.T) (examples []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(entry.Name(), "example_test.go"):
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		examples = append(examples, normalised(string(data)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return examples
}

func normalised(s string) string { return strings.Join(strings.Fields(s), " ") }
