// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Command fromcilium checks the types of the packages of Cilium that use its package
// pkg/k8s/resource, with ours in its place, and prints what does not compile.
//
//	go run -C tools ./fromcilium [-to PACKAGE] [-replace MODULE=OTHER]...
//
// It copies the module of Cilium to a temporary directory, changes the imports, and checks
// the packages and their tests with the Kubernetes modules that Cilium requires. This takes
// some minutes. Give -replace for a module that your proxy does not have, as for go mod edit.
package main

import (
	"cmp"
	"encoding/json"
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
	errs, err := check(dir, packages)
	if err != nil {
		return err
	}
	report(out, packages, errs)
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
		if name = module + "/" + filepath.ToSlash(name); !slices.Contains(packages, name) {
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

var (
	quoted = regexp.MustCompile(`"[^"]*?(\w+)"\.`) // the path of a package before a name
	about  = regexp.MustCompile(`\b(?:resource|ciliumcompat)\.([A-Z]\w*)`)
)

// report prints the errors of the packages, how many packages have none, and how many
// errors there are of each kind: about each identifier.
func report(out io.Writer, packages []string, errs map[string][]checkError) {
	seen, kinds := map[string]bool{}, map[string]int{}
	compile, withTests := 0, 0
	for _, name := range packages {
		if len(errs[name]) == 0 {
			withTests++
		}
		if !slices.ContainsFunc(errs[name], func(e checkError) bool { return !e.inTest }) {
			compile++
		}
		for _, e := range errs[name] {
			line := e.place + ": " + e.message
			if seen[line] {
				continue // the package is checked with and without its tests
			}
			seen[line] = true
			kind := quoted.ReplaceAllString(e.message, "$1.")
			if name := about.FindStringSubmatch(kind); name != nil {
				kind = name[1]
			}
			kinds[kind]++
			fmt.Fprintln(out, line)
		}
	}
	fmt.Fprintf(out, "\n%d packages; %d compile, %d of them with their tests; %d lines of errors\n",
		len(packages), compile, withTests, len(seen))
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
