// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

//go:build linux

package devcluster

import "syscall"

// processAttributes puts the server in its own process group, so that Ctrl-C at the
// terminal reaches only its parent. The kernel ends the server when the parent dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
