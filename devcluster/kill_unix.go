// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build unix

package devcluster

import (
	"errors"
	"os"
	"syscall"
)

// killGroup kills the process and its whole group.
func killGroup(p *os.Process) error {
	err := syscall.Kill(-p.Pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil // it has exited already
	}
	return err
}
