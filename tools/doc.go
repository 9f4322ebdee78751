// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package tools pins the tools that the Makefile runs, by the tool directive of go.mod.
// It is a module of its own, so the tools are no dependencies of the library.
package tools
