// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command words finds words in Go files and Markdown that readers stumble over. It prints
// each line with one, and what to write in its place, and exits with 1 if there are any.
//
//	go run ./words DIR
//
// Tests and testdata are not read. A line that needs such a word is in the list of
// exceptions, with the reason.
package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// habits are the words, and what to write in their place.
var habits = []struct {
	words  *regexp.Regexp
	advice string
}{
	{regexp.MustCompile(`(?i)\b(told|tells?|telling)\b`), "objects do not talk: write receives, gets, returns, reports, shows, says"},
	{regexp.MustCompile(`(?i)\b(whom|whoever|whomever)\b`), "name who acts: the caller, the subscriber, a user"},
	{regexp.MustCompile(`(?i)\bbut for\b`), "write except, or except for"},
	{regexp.MustCompile(`(?i)\b(heeds?|heeded|owes?|owed)\b`), "objects do not feel: write handles, reads, applies, has yet to"},
	{regexp.MustCompile(`(?i)\bthick and fast\b`), "write often, or at a high rate"},
	{regexp.MustCompile(`(?i)\bbe (it|they)\b`), "write if, or whether"},
	{regexp.MustCompile(`(?i)\b(by what it|that which|those who|he who)\b`), "begin with a noun that the reader can point at"},
	{regexp.MustCompile(`(?i)\bin step\b`), "write synced"},
	{regexp.MustCompile(`(?i)\bin vain\b`), "write without success"},
}

// exceptions are parts of lines that may stay, each with the reason.
var exceptions = []struct{ part, reason string }{}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: words DIR")
		os.Exit(2)
	}
	found, err := scan(os.DirFS(os.Args[1]), os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "words:", err)
		os.Exit(2)
	case found > 0:
		fmt.Fprintf(os.Stderr, "words: %d lines to rewrite, see CONTRIBUTING.md\n", found)
		os.Exit(1)
	}
}

// scan writes a line for each line with a habit to w, and returns how many there are.
func scan(dir fs.FS, w io.Writer) (int, error) {
	found := 0
	err := fs.WalkDir(dir, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name == "words" || name != "." && strings.HasPrefix(name, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".md" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(dir, path)
		if err != nil {
			return err
		}
		n := 0
		for line := range bytes.Lines(text) {
			n++
			if words, advice := firstHabit(string(line)); words != "" {
				found++
				fmt.Fprintf(w, "%s:%d: %q: %s\n", path, n, words, advice)
			}
		}
		return nil
	})
	return found, err
}

// firstHabit returns the first habit in a line, and the advice. Both are empty if there
// is none.
func firstHabit(line string) (words, advice string) {
	for _, e := range exceptions {
		line = strings.ReplaceAll(line, e.part, "")
	}
	for _, h := range habits {
		if words := h.words.FindString(line); words != "" {
			return words, h.advice
		}
	}
	return "", ""
}
