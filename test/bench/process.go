// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// The commands of the processes that this one starts. They end with their stdin.
const (
	commandServe  = "serve-pods"
	commandMirror = "mirror-pods"
	commandStatus = "follow-statuses"

	commandServeWire = "serve-wire"
	commandReadWire  = "read-wire"
)

// commands are the functions of the processes, by command.
var commands = map[string]func(args []string, stdin io.Reader, stdout, stderr io.Writer) error{
	commandServe:  servePods,
	commandMirror: mirrorPods,
	commandStatus: followStatuses,

	commandServeWire: serveWire,
	commandReadWire:  readWire,
}

// selfCommand returns a command that runs this program again, with the default settings
// of the garbage collector. The buffer receives its stderr.
func selfCommand(command string, args ...string) (*exec.Cmd, *bytes.Buffer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(program, append([]string{command}, args...)...)
	cmd.Env = append(os.Environ(), "GOGC=100", "GOMEMLIMIT=off")
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	return cmd, stderr, nil
}

// child is a process of this program. It reads and writes one line at a time.
type child struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startChild(command string, args ...string) (*child, error) {
	cmd, stderr, err := selfCommand(command, args...)
	if err != nil {
		return nil, err
	}
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, stderr: stderr, stdin: stdin, stdout: bufio.NewReader(stdout)}, nil
}

func (c *child) writeLine(line string) error {
	_, err := fmt.Fprintln(c.stdin, line)
	return err
}

// stop ends the process, and waits for it. It returns err joined with the error of the
// process.
func (c *child) stop(err error) error {
	_ = c.stdin.Close()
	if failed := c.cmd.Wait(); failed != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w\n%s", c.cmd.Args[1], failed, c.stderr))
	}
	return err
}

// address waits until the process prints its address.
func (c *child) address() (string, error) {
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		return "", c.stop(fmt.Errorf("%s printed no address: %w", c.cmd.Args[1], err))
	}
	return strings.TrimSpace(line), nil
}

// sourceProcess is a process that serves pods.
type sourceProcess struct {
	child   *child
	address string
}

// startSource starts a process that serves this number of pods.
func startSource(objects int) (mirrorSource, error) {
	c, err := startChild(commandServe, "-objects", strconv.Itoa(objects))
	if err != nil {
		return nil, err
	}
	address, err := c.address()
	if err != nil {
		return nil, err
	}
	return &sourceProcess{c, address}, nil
}

// stop implements mirrorSource.
func (s *sourceProcess) stop() error { return s.child.stop(nil) }

// do implements mirrorSource. It runs the task in its own process.
func (s *sourceProcess) do(t mirrorTask) (mirrorResult, error) {
	var result mirrorResult
	cmd, stderr, err := selfCommand(commandMirror,
		"-contestant", t.contestant, "-address", s.address, "-objects", strconv.Itoa(t.objects),
		"-restart="+strconv.FormatBool(t.restart), "-hold="+strconv.FormatBool(t.hold))
	if err != nil {
		return result, err
	}
	if _, err := cmd.StdinPipe(); err != nil { // open as long as this process runs
		return result, err
	}
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("%s: %w\n%s", commandMirror, err, stderr)
	}
	return result, json.Unmarshal(out, &result)
}
