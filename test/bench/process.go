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

// commands are what a process is started for.
var commands = map[string]func(args []string, stdin io.Reader, stdout, stderr io.Writer) error{
	commandServe:  servePods,
	commandMirror: mirrorPods,
	commandStatus: followStatuses,

	commandServeWire: serveWire,
	commandReadWire:  readWire,
}

// own prepares this program to run again in a process of its own, with the default
// settings of the garbage collector. What it says on stderr is kept.
func own(command string, args ...string) (*exec.Cmd, *bytes.Buffer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(program, append([]string{command}, args...)...)
	cmd.Env = append(os.Environ(), "GOGC=100", "GOMEMLIMIT=off")
	said := &bytes.Buffer{}
	cmd.Stderr = said
	return cmd, said, nil
}

// child is a process of this program that is told, and says, one line at a time.
type child struct {
	cmd    *exec.Cmd
	said   *bytes.Buffer
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startChild(command string, args ...string) (*child, error) {
	cmd, said, err := own(command, args...)
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
	return &child{cmd: cmd, said: said, stdin: stdin, stdout: bufio.NewReader(stdout)}, nil
}

func (c *child) tell(line string) error {
	_, err := fmt.Fprintln(c.stdin, line)
	return err
}

// stop has the process end, and waits for it. It returns err, and why it failed.
func (c *child) stop(err error) error {
	_ = c.stdin.Close()
	if failed := c.cmd.Wait(); failed != nil {
		err = errors.Join(err, fmt.Errorf("%s: %w\n%s", c.cmd.Args[1], failed, c.said))
	}
	return err
}

// address waits for the process to say where it serves.
func (c *child) address() (string, error) {
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		return "", c.stop(fmt.Errorf("%s said no address: %w", c.cmd.Args[1], err))
	}
	return strings.TrimSpace(line), nil
}

// sourceProcess is a process that serves pods.
type sourceProcess struct {
	child   *child
	address string
}

// startSource starts a process that serves so many pods.
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

// do implements mirrorSource: in a process of its own.
func (s *sourceProcess) do(t mirrorTask) (mirrorResult, error) {
	var result mirrorResult
	cmd, said, err := own(commandMirror,
		"-contestant", t.contestant, "-address", s.address, "-objects", strconv.Itoa(t.objects),
		"-restart="+strconv.FormatBool(t.restart), "-hold="+strconv.FormatBool(t.hold))
	if err != nil {
		return result, err
	}
	if _, err := cmd.StdinPipe(); err != nil { // open for as long as this process lives
		return result, err
	}
	out, err := cmd.Output()
	if err != nil {
		return result, fmt.Errorf("%s: %w\n%s", commandMirror, err, said)
	}
	return result, json.Unmarshal(out, &result)
}
