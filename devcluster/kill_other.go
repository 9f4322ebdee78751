// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build !unix

package devcluster

import (
	"errors"
	"os"
	"syscall"
)

func processAttributes() *syscall.SysProcAttr { return nil }

// killGroup kills the process; this system has no process groups.
func killGroup(p *os.Process) error {
	err := p.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
