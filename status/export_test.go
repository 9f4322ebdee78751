// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

// TrimMask is for tests of what it leaves out.
var TrimMask = (*Rules).trimMask
