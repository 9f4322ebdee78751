// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// ContentVersion returns a version for an object that has none: a hash of its JSON. Equal
// objects have equal versions. Such versions can only be compared for equality.
//
// It encodes the object, and fails if that fails.
func ContentVersion(obj any) (string, error) {
	sum := fnv.New128a()
	if err := json.NewEncoder(sum).Encode(obj); err != nil {
		return "", fmt.Errorf("version of a %T from its content: %w", obj, err)
	}
	return "content-" + hex.EncodeToString(sum.Sum(nil)), nil
}
