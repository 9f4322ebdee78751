// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import "k8s.io/apimachinery/pkg/runtime/schema"

// wellKnownKinds are the kinds of Rules.WellKnown.
var wellKnownKinds = map[schema.GroupKind]ruleKind{}
