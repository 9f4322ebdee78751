// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/apiary-go/apiary/devcluster/internal/tail"
)

const (
	// BinaryEnv is the environment variable that names the devcluster command to
	// use when Config.Binary is empty.
	BinaryEnv = "DEVCLUSTER_BINARY"

	modulePath  = "github.com/apiary-go/apiary/devcluster"
	commandPath = modulePath + "/cmd/devcluster"

	// noticeAfter is how long a build is silent.
	noticeAfter = 3 * time.Second
)

// ErrNoBinary is wrapped by the error of [Start] and [Binary] when there is no
// devcluster command and none can be built. The error says what to run.
var ErrNoBinary = errors.New("no devcluster command to run as the server")

// Binary returns the path of the devcluster command that [Start] would run with
// this configuration. It looks, in this order, at
//
//  1. config.Binary;
//  2. the environment variable DEVCLUSTER_BINARY;
//  3. the tool devcluster of the module in the current directory (which a go test
//     of that module has as its current directory or above it), as "go get -tool"
//     notes it in go.mod: the go command builds it, and keeps it in its build cache
//     (it is asked once per process and directory);
//  4. the version of this module that the program uses, built by "go install"
//     into the user's cache directory (os.UserCacheDir), under devcluster/ and the
//     version, and used again from there.
//
// The first build compiles Kubernetes, which takes minutes and some gigabytes of
// the build cache. A test that does not want it under its own timeout runs
// "go tool devcluster --version" first, or calls Binary in its TestMain. The
// tool is built with the versions of Kubernetes modules that the module around
// it selects, which may be others than those it was tested with and may even
// fail to build; number 4 always with its own.
//
// Binary blocks until the build has ended, and ends it when ctx ends. It may be
// called from any goroutine, and by many processes at once.
func Binary(ctx context.Context, config Config) (string, error) {
	if config.Binary != "" {
		return existing(config.Binary, "Config.Binary")
	}
	if path := os.Getenv(BinaryEnv); path != "" {
		return existing(path, "$"+BinaryEnv)
	}
	gocmd, err := goCommand()
	if err != nil {
		return "", noBinary(err)
	}
	b := builder{gocmd: gocmd, log: config.Log}
	path, err := b.tool(ctx)
	if err == nil || !errors.Is(err, errNoTool) {
		return path, err
	}
	version, err := b.moduleVersion(ctx)
	if err != nil {
		return "", noBinary(err)
	}
	return b.install(ctx, version)
}

func noBinary(cause error) error {
	return fmt.Errorf("devcluster: %w: %w; run\n\n\tgo get -tool %s\n\nin your module, or set %s to the path of a binary made with go build %s",
		ErrNoBinary, cause, commandPath, BinaryEnv, commandPath)
}

// existing checks a path that the user gave.
func existing(path, from string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("devcluster: find %s: %w", from, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("devcluster: %s must name a devcluster command: %w", from, err)
	}
	if info.IsDir() || runtime.GOOS != "windows" && info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("devcluster: %s is %s, which is not an executable file", from, path)
	}
	return path, nil
}

// goCommand finds the go command.
func goCommand() (string, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("there is no go command to build it with: %w", err)
	}
	return path, nil
}

// errNoTool says that the module around has no such tool, or that there is none.
var errNoTool = errors.New("no such tool")

type builder struct {
	gocmd string
	log   io.Writer
}

// tools remembers, for this process, the tool of the module around each
// directory: the go command takes a second to say that it is up to date.
var tools sync.Map // of string to string

// tool has the go command build the tool of the module around.
func (b builder) tool(ctx context.Context) (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("devcluster: find the current directory: %w", err)
	}
	if known, ok := tools.Load(here); ok {
		if path, ok := known.(string); ok {
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
		}
	}
	out, stderr, err := b.run(ctx, "", nil, "tool", "-n", commandPath)
	if err != nil {
		if ctx.Err() == nil && strings.Contains(stderr, "no such tool") {
			return "", errNoTool
		}
		return "", fmt.Errorf("devcluster: build the tool %s of the current module: %w", commandPath, err)
	}
	path := strings.TrimSpace(out)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("devcluster: the go command did not leave the tool that it built; build it yourself and set %s: %w", BinaryEnv, err)
	}
	tools.Store(here, path)
	return path, nil
}

// moduleVersion finds the version of this module that the program uses.
func (b builder) moduleVersion(ctx context.Context) (string, error) {
	type module struct {
		Version string
		Replace *module
	}
	var found module
	out, _, err := b.run(ctx, "", nil, "list", "-m", "-json", modulePath)
	if err == nil {
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			return "", fmt.Errorf("decode what the go command tells of %s: %w", modulePath, err)
		}
	} else if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == modulePath {
				found.Version = m.Version
				if m.Replace != nil {
					found.Replace = &module{Version: m.Replace.Version}
				}
			}
		}
	}
	switch {
	case found.Replace != nil:
		return "", fmt.Errorf("module %s is replaced by a local copy here, so there is no version of it to install", modulePath)
	case found.Version == "" || found.Version == "(devel)":
		return "", fmt.Errorf("the version of module %s in use is not known", modulePath)
	}
	return found.Version, nil
}

// install builds a version into the user's cache directory, once.
func (b builder) install(ctx context.Context, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", noBinary(fmt.Errorf("there is no cache directory to build it into: %w", err))
	}
	name := "devcluster"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	dir := filepath.Join(cache, "devcluster", version)
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("devcluster: make the directory to build into: %w", err)
	}
	// It is put in place when it is whole: a build may be broken off while it
	// writes, and another process may look meanwhile.
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("devcluster: make the directory to build into: %w", err)
	}
	// One that cannot be removed harms nobody.
	defer func() { _ = os.RemoveAll(temp) }()
	// Nothing of the module around, its workspace or flags for tests may change
	// what is built.
	env := []string{"GOBIN=" + temp, "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH="}
	if _, _, err := b.run(ctx, os.TempDir(), env, "install", commandPath+"@"+version); err != nil {
		return "", noBinary(fmt.Errorf("build version %s: %w", version, err))
	}
	built := filepath.Join(temp, name)
	// Without regard to the umask: nobody else may write to what is run.
	if err := os.Chmod(built, 0o755); err != nil {
		return "", noBinary(fmt.Errorf("version %s: %w", version, err))
	}
	if err := os.Rename(built, path); err != nil {
		if _, there := os.Stat(path); there == nil {
			return path, nil // another process was faster, and runs it
		}
		return "", noBinary(fmt.Errorf("put in place what was built: %w", err))
	}
	return path, nil
}

// run runs the go command. Its error holds the end of what it printed.
func (b builder) run(ctx context.Context, dir string, env []string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, b.gocmd, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = pipeGrace
	var out, all bytes.Buffer
	cmd.Stdout = &out
	kept := &tail.Writer{Max: tailLines, Next: &all}
	narrator := b.narrate()
	cmd.Stderr = io.MultiWriter(kept, narrator)
	err = cmd.Run()
	narrator.stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		err = fmt.Errorf("%s %s: %w\n%s", filepath.Base(b.gocmd), strings.Join(args, " "), err, strings.Join(kept.Lines(), "\n"))
	}
	return out.String(), all.String(), err
}

// narrator hands what the go command prints to the log, and says after a while
// that there is a build. One goroutine, owned by stop, does both, so that the log
// is called by one at a time.
type narrator struct {
	text chan []byte
	done chan struct{}
	wait sync.WaitGroup
}

func (b builder) narrate() *narrator {
	n := &narrator{text: make(chan []byte), done: make(chan struct{})}
	n.wait.Go(func() {
		timer := time.NewTimer(noticeAfter)
		defer timer.Stop()
		notice := b.log
		if notice == nil {
			notice = os.Stderr
		}
		for {
			select {
			case text := <-n.text:
				if b.log != nil {
					_, _ = b.log.Write(text) // a log that fails does not hold up the build
				}
			case <-timer.C:
				_, _ = fmt.Fprintln(notice, "devcluster: building the API server; the first time this takes some minutes ...")
			case <-n.done:
				return
			}
		}
	})
	return n
}

func (n *narrator) Write(p []byte) (int, error) {
	select {
	case n.text <- bytes.Clone(p):
	case <-n.done:
	}
	return len(p), nil
}

// stop ends the goroutine and returns when it has ended.
func (n *narrator) stop() {
	close(n.done)
	n.wait.Wait()
}
