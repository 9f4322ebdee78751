// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const (
	libraryModule = "github.com/apiary-go/apiary"
	kwaitModule   = libraryModule + "/kwait"
)

// go install builds kwait outside the repository, from a module proxy that has this tree
// as a version. The version is unique: the module cache keeps a version for ever.
func TestKwaitInstall(t *testing.T) {
	dir := t.TempDir()
	hash := sha256.Sum256([]byte(fmt.Sprint(dir, time.Now(), os.Getpid())))
	version := module.PseudoVersion("v0", "", time.Now(), fmt.Sprintf("%x", hash[:6]))
	tree := filepath.Join(dir, "tree")
	copyTree(t, tree)
	requireVersion(t, filepath.Join(tree, "kwait", "go.mod"), version)
	proxy := filepath.Join(dir, "proxy")
	publish(t, proxy, module.Version{Path: libraryModule, Version: version}, tree)
	publish(t, proxy, module.Version{Path: kwaitModule, Version: version}, filepath.Join(tree, "kwait"))

	cache := goEnv(t, "GOMODCACHE")
	t.Cleanup(func() { removeCached(t, cache, version) })
	install := exec.CommandContext(t.Context(), "go", "install", kwaitModule+"@"+version)
	install.Dir = dir
	install.Env = append(os.Environ(),
		"GOBIN="+dir,
		"GOFLAGS=-mod=mod",
		// The other modules are in the cache, which is a proxy too.
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(cache, "cache", "download")+","+goEnv(t, "GOPROXY"),
		"GOSUMDB=off") // go.sum has the hashes of the other modules
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("go install: %v\n%s", err, out)
	}
	for flag, want := range map[string]string{"--help": "kwait deployment/web", "--version": version} {
		out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "kwait"), flag).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("kwait %s: %v, %q is not in:\n%s", flag, err, want, out)
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// copyTree copies the files of the repository, without those that git ignores.
func copyTree(t *testing.T, to string) {
	t.Helper()
	const root = "../.."
	out, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and not yet committed
		}
		must(t, err)
		must(t, os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755))
		must(t, os.WriteFile(filepath.Join(to, name), data, 0o644))
	}
}

// requireVersion changes the version of the library that go.mod of kwait requires. go
// install accepts no replace directive.
func requireVersion(t *testing.T, path, version string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	file, err := modfile.Parse(path, data, nil)
	must(t, err)
	if len(file.Replace)+len(file.Exclude) > 0 {
		t.Fatalf("%s has a replace or an exclude directive: go install refuses it", path)
	}
	must(t, file.AddRequire(libraryModule, version))
	data, err = file.Format()
	must(t, err)
	must(t, os.WriteFile(path, data, 0o644))
}

// publish adds a module to a proxy: go help goproxy has the files.
func publish(t *testing.T, proxy string, m module.Version, dir string) {
	t.Helper()
	at := filepath.Join(proxy, m.Path, "@v")
	must(t, os.MkdirAll(at, 0o755))
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(at, m.Version+".mod"), mod, 0o644))
	info := fmt.Sprintf(`{"Version": %q, "Time": %q}`, m.Version, time.Now().UTC().Format(time.RFC3339))
	must(t, os.WriteFile(filepath.Join(at, m.Version+".info"), []byte(info), 0o644))
	must(t, os.WriteFile(filepath.Join(at, "list"), nil, 0o644)) // no tags
	must(t, os.WriteFile(filepath.Join(proxy, m.Path, "@latest"), []byte(info), 0o644))
	file, err := os.Create(filepath.Join(at, m.Version+".zip"))
	must(t, err)
	must(t, zip.CreateFromDir(file, m, dir))
	must(t, file.Close())
}

// removeCached removes the modules of this test from the module cache, whose folders are
// read-only.
func removeCached(t *testing.T, cache, version string) {
	for _, path := range []string{libraryModule, kwaitModule} {
		extracted := filepath.Join(cache, path+"@"+version)
		err := filepath.WalkDir(extracted, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				return os.Chmod(name, 0o755)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		downloaded, err := filepath.Glob(filepath.Join(cache, "cache", "download", path, "@v", version+".*"))
		if err != nil {
			t.Error(err)
		}
		for _, name := range append(downloaded, extracted) {
			if err := os.RemoveAll(name); err != nil {
				t.Error(err)
			}
		}
	}
}
