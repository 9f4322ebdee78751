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

	// noticeAfter is the time until a build prints a notice.
	noticeAfter = 3 * time.Second
)

// ErrNoBinary is wrapped by the errors of [Start] and [Binary] if there is no
// devcluster command and none can be built. The error says what to run.
var ErrNoBinary = errors.New("no devcluster command to run as the server")

// Binary returns the path of the devcluster command that [Start] runs with this
// configuration. It uses the first of:
//
//  1. config.Binary.
//  2. The environment variable DEVCLUSTER_BINARY.
//  3. The tool devcluster of the current directory's module, if its go.mod has one
//     ("go get -tool"). The go command builds it and keeps it in its build cache.
//     Binary runs the go command once for each process and directory.
//  4. The version of this module that the program uses. "go install" builds it into
//     the directory devcluster/VERSION of os.UserCacheDir, where it is kept.
//
// The first build compiles Kubernetes. It takes minutes, and gigabytes of the build
// cache. To keep it out of a test's timeout, run "go tool devcluster --version"
// before, or call Binary in TestMain. The tool (3) is built with the Kubernetes
// modules that the module in the current directory selects. These versions can be
// untested, or fail to build. The installed command (4) is built with its own.
//
// Binary blocks until the build has ended. If ctx ends, it stops the build. It can
// be called from any goroutine, and by several processes at once.
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

// existing checks a path from the configuration.
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
		return "", fmt.Errorf("there is no go command to build one: %w", err)
	}
	return path, nil
}

// errNoTool means that the current directory's module has no such tool, or that
// there is no module.
var errNoTool = errors.New("no such tool")

type builder struct {
	gocmd string
	log   io.Writer
}

// tools maps directories to the tools of their modules. Without it each call takes
// a second, in which the go command checks that the tool is up to date.
var tools sync.Map // of string to string

// tool builds the tool of the current directory's module with the go command.
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
		return "", fmt.Errorf("devcluster: the tool that the go command built is missing; build it yourself and set %s: %w", BinaryEnv, err)
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
			return "", fmt.Errorf("decode the output of go list for %s: %w", modulePath, err)
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
		return "", fmt.Errorf("module %s is replaced by a local copy, so there is no version to install", modulePath)
	case found.Version == "" || found.Version == "(devel)":
		return "", fmt.Errorf("the version of module %s is unknown", modulePath)
	}
	return found.Version, nil
}

// install builds a version into the user's cache directory, once.
func (b builder) install(ctx context.Context, version string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", noBinary(fmt.Errorf("there is no cache directory for the build: %w", err))
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
	// A build can be aborted while it writes, and another process can look for the
	// command meanwhile. The complete command is moved into place.
	temp, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", fmt.Errorf("devcluster: make the directory to build into: %w", err)
	}
	// A directory that cannot be removed does no harm.
	defer func() { _ = os.RemoveAll(temp) }()
	// The current directory's module, its workspace and flags for tests must not
	// change the build.
	env := []string{"GOBIN=" + temp, "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH="}
	if _, _, err := b.run(ctx, os.TempDir(), env, "install", commandPath+"@"+version); err != nil {
		return "", noBinary(fmt.Errorf("build version %s: %w", version, err))
	}
	built := filepath.Join(temp, name)
	// Whatever the umask: other users must not be able to write to the command.
	if err := os.Chmod(built, 0o755); err != nil {
		return "", noBinary(fmt.Errorf("version %s: %w", version, err))
	}
	if err := os.Rename(built, path); err != nil {
		if _, there := os.Stat(path); there == nil {
			return path, nil // another process was faster, and runs it
		}
		return "", noBinary(fmt.Errorf("move the command into the cache directory: %w", err))
	}
	return path, nil
}

// run runs the go command. Its error contains the end of the output.
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

// narrator copies the output of the go command to the log, and prints a notice if
// the build takes long. One goroutine does both, so that the log is called from one
// goroutine at a time. stop waits for it.
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
					_, _ = b.log.Write(text) // an error of the log does not stop the build
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
