// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package tools pins the tools that the Makefile runs, in a module of its own so
// that they are no dependencies of the library: see the tool directive of go.mod.
package tools
