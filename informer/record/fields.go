// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// fields are the fields of objects that are left out. A field without fields below it is left
// out as a whole.
type fields map[string]fields

// always are left out of every object.
var always = [][]string{
	{"metadata", "managedFields"},
	{"metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"},
}

// secret are left out of Secrets.
var secret = fields{"data": nil, "stringData": nil}

// identity are the paths that a replay needs.
var identity = []string{"kind", "apiVersion", "metadata", "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion"}

var (
	validPath = regexp.MustCompile(`^[^.\[\]]+(\.[^.\[\]]+|\[[^\[\]]+\])*$`)
	pathName  = regexp.MustCompile(`\[[^\[\]]+\]|[^.\[\]]+`)
)

// parsePath returns the names of a path such as "metadata.annotations[example.com/token]".
func parsePath(path string) ([]string, error) {
	switch {
	case slices.Contains(identity, path):
		return nil, fmt.Errorf("WithoutFields(%q): a replay needs this field: name other fields", path)
	case !validPath.MatchString(path):
		return nil, fmt.Errorf("WithoutFields(%q): give a path such as spec.template or metadata.annotations[example.com/token]", path)
	}
	names := pathName.FindAllString(path, -1)
	for i, name := range names {
		names[i] = strings.Trim(name, "[]")
	}
	return names, nil
}

// add adds a path.
func (f fields) add(names []string) {
	below, known := f[names[0]]
	switch {
	case known && below == nil: // it is left out as a whole
	case len(names) == 1:
		f[names[0]] = nil
	default:
		if below == nil {
			below = fields{}
			f[names[0]] = below
		}
		below.add(names[1:])
	}
}

// leaveOut returns the JSON without the fields. Names apply to each element of an array.
func (f fields) leaveOut(raw json.RawMessage) (json.RawMessage, error) {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	switch {
	case len(raw) > 0 && raw[0] == '[':
		var all []json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		for i := range all {
			var err error
			if all[i], err = f.leaveOut(all[i]); err != nil {
				return nil, err
			}
		}
		return json.Marshal(all)
	case len(raw) > 0 && raw[0] == '{':
		var all map[string]json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
		for name, below := range f {
			value, has := all[name]
			switch {
			case !has:
			case below == nil:
				delete(all, name)
			default:
				var err error
				if all[name], err = below.leaveOut(value); err != nil {
					return nil, err
				}
			}
		}
		return json.Marshal(all)
	}
	return raw, nil
}
