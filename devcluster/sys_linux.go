// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build linux

package devcluster

import "syscall"

// processAttributes puts the server in a process group of its own, so that a
// Ctrl-C at the terminal reaches only its parent, and has the kernel end it when
// the parent dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
