// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package pin keeps modules in go.mod that no other package here needs.
//
// The module k8s.io/kubernetes asks for its sibling modules at version v0.0.0,
// which does not exist: whoever requires it has to name a real version of each.
// A module that uses devcluster needs more of them than devcluster itself,
// since "go mod tidy" there looks at tests of Kubernetes, too; and "go mod tidy"
// here drops those that nothing imports. So something does.
package pin

import (
	_ "k8s.io/cli-runtime"
	_ "k8s.io/code-generator/pkg/namer"
	_ "k8s.io/cri-api"
	_ "k8s.io/cri-streaming"
	_ "k8s.io/sample-apiserver/pkg/apis/wardle"
)
