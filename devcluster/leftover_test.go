// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// commandIn returns the command, or a program, with a new temporary directory.
func commandIn(t *testing.T, program string, args ...string) (cmd *exec.Cmd, temp string) {
	t.Helper()
	temp = shortDir(t)
	cmd = exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	return cmd, temp
}

// shortDir is t.TempDir with a path that leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// entries returns the names in a directory, which may be missing.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// expectEntries fails the test unless the directory holds these names, which are
// in order.
func expectEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := entries(t, dir); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s holds %v, want %v", dir, got, want)
	}
}

// write makes a file that devcluster did not make.
func write(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func expectPrecious(t *testing.T, path string) {
	t.Helper()
	if data, err := os.ReadFile(path); err != nil || string(data) != "precious" {
		t.Errorf("%s is now %q, %v", path, data, err)
	}
}

// The moments are those at which the command makes something, the last one that
// at which it is ready. kube-apiserver starts half a second and more after etcd.
var moments = []struct {
	made  string // in the directory of temporary files; "" is at once
	after time.Duration
}{
	{"", 0},
	{"", 100 * time.Millisecond},
	{"", 200 * time.Millisecond},
	{"", 300 * time.Millisecond},
	{"devcluster-*", 0},
	{"devcluster-*/data/pki/ca.key", 0},
	{"devcluster-*/data/address.json", 0},
	{"devcluster-*/etcd.sock", 0},
	{"devcluster-*/etcd.sock", 200 * time.Millisecond},
	{"devcluster-*/etcd.sock", 500 * time.Millisecond},
	{"devcluster-*/kubeconfig", 0},
}

// No file is left, whatever ends the command, and at any moment.
func TestCommandEndsAtAnyMomentAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for i, moment := range moments {
		signal := []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}[i%3]
		t.Run(fmt.Sprintf("%s %s %s", moment.made, moment.after, signal), func(t *testing.T) {
			t.Parallel()
			cmd, temp := commandIn(t, command().Path)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if moment.made != "" {
				eventually(t, moment.made, func() bool {
					found, err := filepath.Glob(filepath.Join(temp, moment.made))
					return err != nil || len(found) > 0
				})
			}
			<-time.After(moment.after)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			err := cmd.Wait()
			// Before it hears signals it has made nothing.
			if moment.made == "" && cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() {
				err = nil
			}
			if err != nil {
				t.Errorf("ended with %v", err)
			}
			expectEntries(t, temp)
		})
	}
}

// The parent dies and cannot stop its cluster.
func TestParentKilledWhileStarting(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		for _, made := range []string{"", "devcluster-*", "devcluster-*/etcd.sock"} {
			t.Run(fmt.Sprintf("%s %s", made, signal), func(t *testing.T) {
				t.Parallel()
				cmd, temp := commandIn(t, program)
				cmd.Env = append(cmd.Env, parentEnv+"=1")
				stdin, err := cmd.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the server is at "+made, func() bool {
					found, err := filepath.Glob(filepath.Join(temp, made))
					return err != nil || len(found) > 0 && len(processesIn(temp)) == 2
				})
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // it was killed
				eventually(t, "the server has ended", func() bool { return len(processesIn(temp)) == 0 })
				expectEntries(t, temp)
			})
		}
	}
}

// processesIn returns the processes with this temporary directory.
func processesIn(temp string) (pids []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is well formed
	for _, path := range paths {
		env, _ := os.ReadFile(path) // it may have ended
		if bytes.Contains(env, []byte("TMPDIR="+temp+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestCommandRemovesOnlyWhatItMade(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	data, precious := filepath.Join(dir, "data"), filepath.Join(dir, "precious")
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, precious)
	args := []string{"-c", `umask 0; exec "$@"`, "sh", command().Path, "--temp-dir", dir, "--data-dir", data, "--kubeconfig", kubeconfig}
	cmd, temp := commandIn(t, "/bin/sh", args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := readUntil(t, stdout, "Ctrl-C ends it.")
	if !strings.Contains(text, data+" (kept)") || !strings.Contains(text, "unix://"+dir+"/devcluster/etcd.sock") {
		t.Errorf("printed:\n%s", text)
	}
	expectEntries(t, dir, "data", "devcluster", "precious")
	for _, made := range []string{data, filepath.Join(dir, "devcluster"), kubeconfig} {
		err := filepath.WalkDir(made, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode()&0o077 != 0 {
				t.Errorf("%s has mode %s", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}

	second, _ := commandIn(t, command().Path, "--temp-dir", dir)
	second.Stderr = nil
	if out, err := second.CombinedOutput(); err == nil || !strings.Contains(string(out), "in use by another devcluster") {
		t.Errorf("a second one with the same --temp-dir: %v: %s", err, out)
	}
	// Another program takes the place of the kubeconfig.
	other := kubeconfig + ".other"
	write(t, other)
	if err := os.Rename(other, kubeconfig); err != nil {
		t.Fatal(err)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	readUntil(t, stdout, "Stopping")
	if err := cmd.Wait(); err != nil {
		t.Errorf("ended with %v", err)
	}
	expectEntries(t, dir, "data", "precious")
	expectEntries(t, temp)
	expectPrecious(t, precious)
	expectPrecious(t, kubeconfig)
	if len(entries(t, filepath.Join(data, "etcd"))) == 0 {
		t.Error("the data were not kept")
	}
}

func TestCommandKeepsATempDirForARestart(t *testing.T) {
	t.Parallel()
	dir := shortDir(t)
	precious := filepath.Join(dir, "precious")
	write(t, precious)
	kubeconfig := filepath.Join(dir, "devcluster", "kubeconfig")
	var before []byte
	for _, last := range []string{"keep\n", ""} {
		cmd, _ := commandIn(t, command().Path, "--temp-dir", dir, "--ready-json", "--exit-on-stdin-close")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		readUntil(t, stdout, "{")
		data, err := os.ReadFile(kubeconfig)
		if err != nil || before != nil && !bytes.Equal(data, before) {
			t.Errorf("the kubeconfig is another one, %v", err)
		}
		before = data
		_, err = stdin.Write([]byte(last))
		if err = errors.Join(err, stdin.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}
	expectEntries(t, dir, "precious")
	expectPrecious(t, precious)
}

func TestCommandRefusesTheDirectoriesOfOthers(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(dir string) error
		args    func(dir string) []string
		want    string
		left    string // the only name left in the directory
	}{
		"data directory that others can write to": {
			func(dir string) error {
				return errors.Join(os.Mkdir(dir+"/data", 0o700), os.Chmod(dir+"/data", 0o770))
			},
			func(dir string) []string { return []string{"--data-dir=" + dir + "/data"} },
			"chmod go-w", "data",
		},
		"link to a data directory": {
			func(dir string) error { return os.Symlink(".", dir+"/data") },
			func(dir string) []string { return []string{"--data-dir=" + dir + "/data"} },
			"use the path of its target", "data",
		},
		"data in the temporary directory": {
			func(string) error { return nil },
			func(dir string) []string {
				return []string{"--temp-dir=" + dir + "/temp", "--data-dir=" + dir + "/temp/a/b"}
			},
			"is in the temporary directory", "",
		},
		"log behind a link in the temporary directory": {
			func(dir string) error { return os.Symlink("temp", dir+"/link") },
			func(dir string) []string {
				return []string{"--temp-dir=" + dir + "/temp", "--log-file=" + dir + "/link/log"}
			},
			"is in the temporary directory", "link",
		},
		"link to a log": {
			func(dir string) error { return os.Symlink("target", dir+"/log") },
			func(dir string) []string { return []string{"--log-file=" + dir + "/log"} },
			"use the path of its target", "log",
		},
		"link to a kubeconfig": {
			func(dir string) error { return os.Symlink("target", dir+"/config") },
			func(dir string) []string { return []string{"--kubeconfig=" + dir + "/config"} },
			"not written by devcluster", "config",
		},
		"directory with the name of ours": {
			func(dir string) error { return os.Mkdir(dir+"/devcluster", 0o700) },
			func(dir string) []string { return []string{"--temp-dir=" + dir} },
			"not made by devcluster", "devcluster",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := test.prepare(dir); err != nil {
				t.Fatal(err)
			}
			cmd, temp := commandIn(t, command().Path, test.args(dir)...)
			cmd.Stderr = nil
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v: %s", err, out)
			}
			if got := strings.Join(entries(t, dir), " "); got != test.left {
				t.Errorf("left: %q, want %q", got, test.left)
			}
			expectEntries(t, temp)
		})
	}
}

// etcd panics on damaged data, in a goroutine of its own.
func TestCommandLeavesNothingAfterAFatalError(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	snap := filepath.Join(data, "etcd", "member", "snap")
	if err := os.MkdirAll(snap, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(snap, "db"))
	cmd, temp := commandIn(t, command().Path, "--data-dir", data)
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "fatal error") || !strings.Contains(string(out), "invalid database") {
		t.Errorf("%v: %s", err, out)
	}
	expectEntries(t, temp)
}
