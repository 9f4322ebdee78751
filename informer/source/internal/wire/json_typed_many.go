// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
)

// slice plans a slice, for which the mask is that of its elements. Bytes are text.
func (c *compiler) slice(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	elem, err := c.plan(t.Elem(), mask, path)
	if err != nil {
		return nil, err
	}
	bytes, id, size := t.Elem().Kind() == reflect.Uint8, ids.Add(1), int(t.Elem().Size())
	return func(d *decoder, v reflect.Value) error {
		switch b := d.peek(); {
		case b == 'n':
			v.SetZero()
			return d.literal("null")
		case b == '"' && bytes:
			return decodeBytes(d, v)
		case b != '[':
			return d.unfit(v)
		}
		key, done, err := d.lookFor(id, v)
		if done || err != nil {
			return err
		}
		// What is there of a field of the same name is written over, not made anew.
		i := 0
		more, err := d.open(']')
		for ; more && err == nil; more, err = d.more(']') {
			if i >= v.Len() {
				if i >= v.Cap() {
					if err := d.spend(sliceGrowth(i), size); err != nil {
						return err
					}
					v.Grow(1)
				}
				v.SetLen(i + 1)
			}
			d.place = id
			if err := elem.decode(d, v.Index(i)); err != nil {
				return err
			}
			i++
		}
		switch {
		case err != nil:
			return err
		case i == 0:
			v.Set(reflect.MakeSlice(t, 0, 0))
		default:
			v.SetLen(i)
			d.keepSlice(key, v)
		}
		return nil
	}, nil
}

// mapOf plans a map of which the keys are strings. Its mask has keys, and fields of all
// values.
func (c *compiler) mapOf(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	key := t.Key()
	if key.Kind() != reflect.String || reflect.PointerTo(key).Implements(textUnmarshaler) {
		return nil, fmt.Errorf("field %q of type %v: its keys are no strings", path, t)
	}
	var (
		rest *plan // of the entries that the mask does not name, nil if there are none
		some map[string]*plan
		err  error
	)
	fields := Mask{}
	for name, below := range mask {
		if _, entry := unbracket(name); !entry {
			fields[name] = below
		}
	}
	switch {
	case mask == nil && t.Elem() == quantityType: // of which a reader has a copy
		rest = &plan{decode: decodeOwn}
	case mask == nil:
		rest, err = c.plan(t.Elem(), nil, path)
	case len(fields) > 0:
		rest, err = c.plan(t.Elem(), fields, path)
	}
	for name, below := range mask {
		key, entry := unbracket(name)
		if !entry || err != nil {
			continue
		}
		if len(fields) > 0 {
			below = merged(below, fields)
		}
		if some == nil {
			some = map[string]*plan{}
		}
		some[key], err = c.plan(t.Elem(), below, path+name)
	}
	if err != nil {
		return nil, err
	}
	texts, id, size := t == reflect.TypeFor[map[string]string](), ids.Add(1), int(t.Elem().Size())
	return func(d *decoder, v reflect.Value) error {
		switch d.peek() {
		case 'n':
			v.SetZero()
			return d.literal("null")
		case '{':
		default:
			return d.unfit(v)
		}
		found, done, err := d.lookFor(id, v)
		if done || err != nil {
			return err
		}
		if v.IsNil() {
			if err := d.spend(1, mapRoom(0, size)); err != nil {
				return err
			}
			v.Set(reflect.MakeMap(t))
		}
		entries := v.Len()
		var to map[string]string
		if texts {
			to = *v.Addr().Interface().(*map[string]string)
		}
		var k, e reflect.Value
		more, err := d.open('}')
		for ; more && err == nil; more, err = d.more('}') {
			name, err := d.name()
			if err != nil {
				return err
			}
			p := rest
			if len(some) > 0 {
				if known := some[string(name)]; known != nil {
					p = known
				}
			}
			if p == nil {
				if _, err := d.skip(); err != nil {
					return err
				}
				continue
			}
			if err := d.spend(1, mapRoom(entries+1, size)-mapRoom(entries, size)); err != nil {
				return err
			}
			entries++
			made := d.made.string(name, d.share)
			if texts && d.peek() == '"' {
				text, err := d.text()
				if err != nil {
					return err
				}
				to[made] = d.made.string(text, d.share)
				continue
			}
			if !k.IsValid() {
				if err := d.spend(1, stringSize+size); err != nil {
					return err
				}
				k, e = reflect.New(key).Elem(), reflect.New(t.Elem()).Elem()
			}
			k.SetString(made)
			e.SetZero()
			d.place = id
			if err := p.decode(d, e); err != nil {
				return err
			}
			v.SetMapIndex(k, e)
		}
		if err == nil {
			d.share.keep(found, v.UnsafePointer(), 0)
		}
		return err
	}, nil
}
