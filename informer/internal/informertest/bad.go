// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informertest

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
)

// NoSevens is a transform that fails for objects whose version ends in 7.
func NoSevens(obj runtime.Object) (Object, error) {
	o := obj.(Object)
	if strings.HasSuffix(o.ResourceVersion, "7") {
		return nil, errors.New("it is not for us")
	}
	return o, nil
}
