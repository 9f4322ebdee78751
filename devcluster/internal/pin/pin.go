// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package pin keeps modules in go.mod that no other package here needs.
//
// The module k8s.io/kubernetes requires its sibling modules at version v0.0.0, which
// does not exist. A module that requires it must require a real version of each. A
// module that uses devcluster needs more of them than devcluster itself, because its
// "go mod tidy" also reads the tests of Kubernetes. "go mod tidy" of devcluster drops
// modules that no package imports, so this package imports them.
package pin

import (
	_ "k8s.io/cli-runtime"
	_ "k8s.io/code-generator/pkg/namer"
	_ "k8s.io/cri-api"
	_ "k8s.io/cri-streaming"
	_ "k8s.io/sample-apiserver/pkg/apis/wardle"
)
