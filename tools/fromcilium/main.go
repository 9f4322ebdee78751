// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command fromcilium compiles the packages of Cilium that use its package pkg/k8s/resource
// with ours in its place, and prints what does not compile.
//
//	go run -C tools ./fromcilium [-to PACKAGE] [-replace MODULE=OTHER]...
//
// It copies the module of Cilium to a temporary directory, changes the imports, and compiles
// the packages and their tests with the Kubernetes modules that Cilium requires. This takes
// half an hour on two cores, and some gigabytes of Go's build cache. Give -replace for a
// module that your proxy does not have, as for go mod edit.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	module = "github.com/cilium/cilium"
	theirs = module + "/pkg/k8s/resource"
	ours   = "github.com/apiary-go/apiary"
)

func main() {
	to := flag.String("to", ours+"/resource/ciliumcompat", "the `package` to import in place of Cilium's")
	version := flag.String("version", "v1.20.2", "the `version` of Cilium")
	var replace []string
	flag.Func("replace", "a `MODULE=OTHER` for go mod edit", func(s string) error {
		replace = append(replace, "-replace="+s)
		return nil
	})
	flag.Parse()
	if err := run(os.Stdout, *to, *version, replace); err != nil {
		fmt.Fprintln(os.Stderr, "fromcilium:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, to, version string, replace []string) error {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "fromcilium")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	dir := filepath.Join(temp, "cilium")
	var downloaded struct{ Dir string }
	if err := goJSON(&downloaded, temp, "mod", "download", "-json", module+"@"+version); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(downloaded.Dir)); err != nil {
		return err
	}
	packages, err := changeImports(dir, to)
	if err != nil {
		return err
	}
	if err := require(dir, root, replace); err != nil {
		return err
	}
	results, err := compile(dir, packages)
	if err != nil {
		return err
	}
	report(out, packages, results)
	return nil
}

var imported = regexp.MustCompile(`(?m)^(\s*(?:import )?)(\w+ )?"` + theirs + `"`)

// changeImports has the files in dir import another package, and returns the packages that
// do. The imported package itself, and what is below it, stays as it is.
func changeImports(dir, to string) ([]string, error) {
	var packages []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == filepath.Join(dir, strings.TrimPrefix(theirs, module)):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		code, err := os.ReadFile(path)
		if err != nil || !imported.Match(code) {
			return err
		}
		code = imported.ReplaceAllFunc(code, func(line []byte) []byte {
			part := imported.FindSubmatch(line)
			name := cmp.Or(string(part[2]), "resource ")
			return []byte(string(part[1]) + name + `"` + to + `"`)
		})
		name, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		if name = "./" + filepath.ToSlash(name); !slices.Contains(packages, name) {
			packages = append(packages, name)
		}
		return os.WriteFile(path, code, 0o666)
	})
	return packages, err
}

// require has the module in dir require ours, in root, and keeps the Kubernetes modules at
// the versions that it requires.
func require(dir, root string, replace []string) error {
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := goJSON(&mod, dir, "mod", "edit", "-json"); err != nil {
		return err
	}
	args := []string{"mod", "edit", "-require=" + ours + "@v0.0.0", "-replace=" + ours + "=" + root}
	for _, r := range mod.Require {
		kubernetes := strings.HasPrefix(r.Path, "k8s.io/") && strings.HasPrefix(r.Version, "v0.") && !strings.HasPrefix(r.Version, "v0.0.0-")
		if kubernetes || r.Path == "sigs.k8s.io/controller-runtime" {
			args = append(args, "-replace="+r.Path+"="+r.Path+"@"+r.Version)
		}
	}
	_, err := goOutput(dir, append(args, replace...)...)
	return err
}

// result is that of a package, or of one compiled with its tests.
type result struct {
	ImportPath, ForTest string
	Error               *struct{ Err string }
	DepsErrors          []struct{ Err string }
}

// pkg is the package that the result is of.
func (r result) pkg() string {
	path, _, _ := strings.Cut(r.ImportPath, " ")
	return "." + strings.TrimPrefix(strings.TrimSuffix(cmp.Or(r.ForTest, path), ".test"), module)
}

// isTest reports whether the tests were compiled, too.
func (r result) isTest() bool {
	return r.ForTest != "" || strings.HasSuffix(r.ImportPath, ".test")
}

func compile(dir string, packages []string) ([]result, error) {
	out, err := goOutput(dir, append([]string{"list", "-e", "-export", "-test", "-gcflags=-e",
		"-json=ImportPath,ForTest,Error,DepsErrors"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var results []result
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var r result
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			return results, nil
		} else if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
}

var (
	place = regexp.MustCompile(`^\S+\.go:\d+(:\d+)?: `)
	about = regexp.MustCompile(`\b(?:resource|ciliumcompat)\.([A-Z]\w*)`)
)

// report prints how many packages compile, the errors of the others, and how many errors
// there are of each kind: about each identifier.
func report(out io.Writer, packages []string, results []result) {
	failed, failedTests := map[string]bool{}, map[string]bool{}
	lines, kinds := map[string]bool{}, map[string]int{}
	for _, r := range results {
		if r.Error == nil && len(r.DepsErrors) == 0 {
			continue
		}
		if failedTests[r.pkg()] = true; !r.isTest() {
			failed[r.pkg()] = true
		}
		if r.Error == nil {
			continue // the errors are those of a dependency
		}
		for line := range strings.Lines(r.Error.Err) {
			line = strings.TrimSpace(line)
			message := place.ReplaceAllString(line, "")
			if lines[line] || strings.HasPrefix(line, "#") || line == "" {
				continue
			}
			lines[line] = true
			if name := about.FindStringSubmatch(message); name != nil {
				message = name[1]
			}
			kinds[message]++
		}
	}
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintf(out, "\n%d packages; %d compile, %d of them with their tests; %d lines of errors\n",
		len(packages), len(packages)-len(failed), len(packages)-len(failedTests), len(lines))
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(out, "%5d  %s\n", kinds[kind], kind)
	}
}

// goJSON decodes what a go command prints.
func goJSON(into any, dir string, args ...string) error {
	out, err := goOutput(dir, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// goOutput returns what a go command prints. What it says of its progress is shown.
func goOutput(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s %s: %w", args[0], args[1], err)
	}
	return out, nil
}
