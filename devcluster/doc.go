// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package devcluster is for tests and development.
package devcluster
