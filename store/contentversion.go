// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// ContentVersion makes a version for the state of an object that has none of its
// own, from its content as JSON: two states have the same version if they are
// equal. Like any version that is no number it can only be compared for equality.
//
// It costs encoding the object. It fails if that fails.
func ContentVersion(obj any) (string, error) {
	sum := fnv.New128a()
	if err := json.NewEncoder(sum).Encode(obj); err != nil {
		return "", fmt.Errorf("version of a %T from its content: %w", obj, err)
	}
	return "content-" + hex.EncodeToString(sum.Sum(nil)), nil
}
