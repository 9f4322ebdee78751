// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Mask says which fields of an object are wanted, by their names in JSON. The value of
// a field is the mask of what is below it; nil is all of it. Slices are transparent:
// the mask of a slice is that of its elements. Of a map, "[key]" is the field that an
// entry is, and any other field is one of all its values.
type Mask map[string]Mask

// always are the fields without which nothing is known of an object.
var always = []string{"apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion"}

// ParseMask makes a mask of paths such as spec.containers.image and
// metadata.labels[app.kubernetes.io/name]. What identifies an object is always in it.
// No paths at all are a mask of only that.
func ParseMask(paths []string) (Mask, error) {
	root := Mask{}
	var errs []error
	for _, path := range slices.Concat(always, paths) {
		parts, err := split(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		root.add(parts)
	}
	return root, errors.Join(errs...)
}

// CheckPaths reports which of the paths are none of a type of struct.
func CheckPaths(typ reflect.Type, paths []string) error {
	var errs []error
	for _, path := range paths {
		parts, err := split(path)
		if err == nil {
			one := Mask{}
			one.add(parts)
			_, err = NewJSONDecoder(typ, one)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// split cuts a path.
func split(path string) (parts []string, err error) {
	bad := func(why string) ([]string, error) {
		return nil, fmt.Errorf("field %q: %s; write it as in spec.nodeName or metadata.labels[app]", path, why)
	}
	for rest := path; ; {
		at := strings.IndexAny(rest, ".[")
		if at < 0 {
			at = len(rest)
		}
		if at == 0 {
			return bad("there is a name missing")
		}
		parts = append(parts, rest[:at])
		for rest = rest[at:]; strings.HasPrefix(rest, "["); {
			end := strings.IndexByte(rest, ']')
			if end < 2 {
				return bad("there is a key missing, or its end")
			}
			parts = append(parts, rest[:end+1])
			rest = rest[end+1:]
		}
		if rest == "" {
			return parts, nil
		}
		if rest[0] != '.' {
			return bad("there is a dot missing")
		}
		rest = rest[1:]
	}
}

// add adds a path. What is wanted whole stays so.
func (m Mask) add(parts []string) {
	for i, part := range parts {
		below, known := m[part]
		if known && below == nil {
			return
		}
		if i == len(parts)-1 {
			m[part] = nil
			return
		}
		if below == nil {
			below = Mask{}
			m[part] = below
		}
		m = below
	}
}
