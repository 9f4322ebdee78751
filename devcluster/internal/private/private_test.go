// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package private_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apiary-go/apiary/devcluster/internal/private"
)

func TestDirRefusesWhatOthersCanChange(t *testing.T) {
	foreign := "/" // of root
	if os.Geteuid() == 0 {
		foreign = t.TempDir()
		if err := os.Chown(foreign, 4711, -1); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	withMode := func(mode fs.FileMode) string {
		path := t.TempDir()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, test := range map[string]struct{ path, want string }{
		"missing":           {filepath.Join(dir, "a", "b"), ""},
		"readable":          {withMode(0o755), ""},
		"writable by group": {withMode(0o775), "chmod go-w"},
		"writable by all":   {withMode(0o707), "chmod go-w"},
		"of another owner":  {foreign, "change its owner"},
		"symbolic link":     {link, "use the path of its target"},
		"no directory":      {"/dev/null", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			err := private.Dir(test.path)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Dir: %v, want %q", err, test.want)
			}
		})
	}
	checkMode(t, filepath.Join(dir, "a"), 0o700|fs.ModeDir)
	checkMode(t, filepath.Join(dir, "a", "b"), 0o700|fs.ModeDir)
}

func TestFilesFollowNoLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if _, err := private.OpenAppend(link); !errors.Is(err, private.ErrLink) {
		t.Errorf("OpenAppend: %v, want ErrLink", err)
	}
	if _, err := private.Lock(link); !errors.Is(err, private.ErrLink) {
		t.Errorf("Lock: %v, want ErrLink", err)
	}
	if err := private.WriteFile(link, []byte("new")); err != nil {
		t.Errorf("WriteFile: %v", err)
	}
	checkMode(t, link, 0o600)
	for path, want := range map[string]string{target: "precious", link: "new"} {
		if data, err := os.ReadFile(path); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v, want %q", path, data, err, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("the directory holds %v, %v", left, err)
	}
}

func TestModesWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		dir := t.TempDir()
		before := syscall.Umask(umask)
		err := private.WriteFile(filepath.Join(dir, "file"), nil)
		private.Umask()
		log, openErr := private.OpenAppend(filepath.Join(dir, "log"))
		err = errors.Join(err, openErr, private.Dir(filepath.Join(dir, "dir")))
		syscall.Umask(before)
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
		checkMode(t, filepath.Join(dir, "file"), 0o600)
		checkMode(t, filepath.Join(dir, "log"), 0o600)
		checkMode(t, filepath.Join(dir, "dir"), 0o700|fs.ModeDir)
	}
}

func TestLockIsHeldOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	held, err := private.Lock(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := private.Lock(file); err == nil || !strings.Contains(err.Error(), "in use by another devcluster") {
		t.Errorf("second Lock: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err = private.Lock(file); err != nil {
		t.Fatalf("Lock after Close: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
}

func checkMode(t *testing.T, path string, want fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Error(err)
	} else if info.Mode() != want {
		t.Errorf("mode of %s is %s, want %s", path, info.Mode(), want)
	}
}
