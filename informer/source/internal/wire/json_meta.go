// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"math"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// identify finds out what identifies an object, which s has scanned and which begins at
// start in the body, and whether it can be decoded.
func (o *Object) identify(s *scanner, limits Limits, start int64) {
	var err error
	if b := o.Raw[0]; b != '{' {
		*o = Object{Format: JSON, Raw: o.Raw}
		err = unfitFor(b, "an object")
	} else if err = jsonMetaOf(o, s); err != nil {
		o.identifyAnyway()
	}
	if large := limits.tooLarge(len(o.Raw)); large != nil {
		err = large
	} else if s.deep {
		err = tooDeep(limits.Depth)
	}
	if err == nil {
		return
	}
	if at := (*Error)(nil); !errors.As(err, &at) {
		err = &Error{Err: err}
	}
	o.Err = within(start, err)
}

// identifyAnyway finds out what identifies an object whose metadata do not fit. Name stays
// empty if name or namespace do not.
func (o *Object) identifyAnyway() {
	*o = Object{Format: JSON, Raw: o.Raw}
	top := valuesOf(o.Raw, "apiVersion", "kind", "metadata")
	o.APIVersion, _ = textOf(top["apiVersion"])
	o.Kind, _ = textOf(top["kind"])
	meta := valuesOf(top["metadata"], "name", "namespace", "uid", "resourceVersion")
	o.UID, _ = textOf(meta["uid"])
	o.Version, _ = textOf(meta["resourceVersion"])
	namespace, fits := textOf(meta["namespace"])
	if fits {
		o.Namespace = namespace
		o.Name, _ = textOf(meta["name"])
	}
}

// valuesOf returns the values of some members of an object, none of what is no object.
func valuesOf(raw []byte, names ...string) map[string][]byte {
	values := map[string][]byte{}
	c := cursor{data: raw, depth: math.MaxInt}
	_ = c.members(func(name []byte) error {
		value, err := c.skip()
		if slices.Contains(names, string(name)) {
			values[string(name)] = value
		}
		return err
	})
	return values
}

// textOf returns the text of a string, and whether it is one: a null, and a value that is
// missing, are an empty one.
func textOf(value []byte) (text string, fits bool) {
	switch {
	case len(value) == 0 || value[0] == 'n':
		return "", true
	case value[0] == '"':
		return string(unquote(value[1 : len(value)-1])), true
	}
	return "", false
}

// jsonMetaOf finds out what identifies an object, which s has scanned. Of members of
// the same name the last one counts.
func jsonMetaOf(o *Object, s *scanner) error {
	c := cursor{data: o.Raw, depth: s.depth}
	if s.deep {
		c.depth = math.MaxInt
	}
	known := *o
	*o = Object{Format: JSON, Raw: o.Raw}
	if s.count > len(s.at) {
		return c.members(func(name []byte) error {
			read, err := c.topMember(name, o, &known)
			if !read && err == nil {
				_, err = c.skip()
			}
			return err
		})
	}
	c.depth--
	for _, c.at = range s.at[:s.count] {
		name, err := c.name()
		if err == nil {
			_, err = c.topMember(name, o, &known)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// topMember reads a member of an object, if it is one that identifies it.
func (c *cursor) topMember(name []byte, o, known *Object) (read bool, err error) {
	switch string(name) {
	case "apiVersion":
		o.APIVersion, err = c.string(known.APIVersion)
	case "kind":
		o.Kind, err = c.string(known.Kind)
	case "metadata":
		o.Namespace, o.Name, o.UID, o.Version, o.InitialEventsEnd = "", "", "", "", false
		err = c.objectMeta(o, known.Namespace)
	default:
		return false, nil
	}
	return true, err
}

// objectMeta reads an ObjectMeta.
func (c *cursor) objectMeta(o *Object, namespace string) error {
	return c.members(func(name []byte) (err error) {
		switch string(name) {
		case "name":
			o.Name, err = c.string("")
		case "namespace":
			o.Namespace, err = c.string(namespace)
		case "uid":
			o.UID, err = c.string("")
		case "resourceVersion":
			o.Version, err = c.string("")
		case "annotations":
			o.InitialEventsEnd = false
			err = c.members(func(name []byte) error {
				if string(name) != metav1.InitialEventsAnnotationKey {
					_, err := c.skip()
					return err
				}
				text, err := c.string("true")
				o.InitialEventsEnd = text == "true"
				return err
			})
		default:
			_, err = c.skip()
		}
		return err
	})
}

// listMeta reads a ListMeta.
func (c *cursor) listMeta(list *ListMeta) error {
	list.Version, list.Continue, list.Remaining = "", "", -1
	return c.members(func(name []byte) (err error) {
		switch string(name) {
		case "resourceVersion":
			list.Version, err = c.string("")
		case "continue":
			list.Continue, err = c.string("")
		case "remainingItemCount":
			list.Remaining, err = c.count()
		default:
			_, err = c.skip()
		}
		return err
	})
}

// members calls each for every member of an object, which must go over its value. No
// object is a null.
func (c *cursor) members(each func(name []byte) error) error {
	if null, err := c.null(); null || err != nil {
		return err
	}
	if b := c.peek(); b != '{' {
		return c.fail(unfitFor(b, "an object"))
	}
	more, err := c.open('}')
	for more && err == nil {
		var name []byte
		if name, err = c.name(); err != nil {
			return err
		}
		if err = each(name); err == nil {
			more, err = c.more('}')
		}
	}
	return err
}

// string goes over a string or a null, which is an empty one. It returns known if
// that is what it is, which saves an allocation.
func (c *cursor) string(known string) (string, error) {
	if null, err := c.null(); null || err != nil {
		return "", err
	}
	if b := c.peek(); b != '"' {
		return "", c.fail(unfitFor(b, "a string"))
	}
	text, err := c.text()
	if err != nil {
		return "", err
	}
	if string(text) == known {
		return known, nil
	}
	return string(text), nil
}

// count goes over a number of things or a null, which is -1.
func (c *cursor) count() (int64, error) {
	if null, err := c.null(); null || err != nil {
		return -1, err
	}
	at := c.at
	text, err := c.skip()
	if err != nil {
		return -1, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		c.at = at
		return -1, c.fail(errors.New("something that is no number of items"))
	}
	return n, nil
}
