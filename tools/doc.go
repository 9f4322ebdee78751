// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package tools pins the tools of the Makefile with the tool directive of go.mod. It is a
// separate module, so that the library does not depend on the tools.
package tools
