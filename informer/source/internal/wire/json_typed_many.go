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
					if err := d.grow(v, size); err != nil {
						return err
					}
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

// countFrom is the size in memory from which on a slice is made as large as it has to be:
// its elements are counted first.
const countFrom = 1 << 20

// grow makes room in a slice that is full, for the element at the cursor.
func (d *decoder) grow(v reflect.Value, size int) error {
	n := sliceGrowth(v.Len())
	ahead := 0
	if n*size >= countFrom {
		if ahead = d.ahead(); ahead > 0 {
			n = v.Len() + ahead
		}
	}
	if err := d.spend(n, size); err != nil {
		return err
	}
	if ahead == 0 {
		v.Grow(1)
		return nil
	}
	exact := reflect.MakeSlice(v.Type(), v.Len(), n)
	reflect.Copy(exact, v)
	v.Set(exact)
	return nil
}

// ahead counts the elements of an array from the one at the cursor on. It returns 0 where
// that would take too long, since arrays within arrays were counted before.
func (d *decoder) ahead() (n int) {
	c := d.cursor
	for more := true; more; n++ {
		_, err := c.skip()
		if err == nil {
			more, err = c.more(']')
		}
		if err != nil || c.at-d.at > d.countable {
			d.countable -= min(c.at-d.at, d.countable)
			return 0
		}
	}
	d.countable -= c.at - d.at
	return n
}

// mapPlan is how a map is made of which the keys are strings.
type mapPlan struct {
	t     reflect.Type
	rest  *plan            // of the entries that the mask does not name, nil if there are none
	some  map[string]*plan // of those that it names
	texts bool             // it is a map[string]string
	id    uint64
	size  int // of a value
}

// mapOf plans a map. Its mask has keys, and fields of all values.
func (c *compiler) mapOf(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	if key := t.Key(); key.Kind() != reflect.String || reflect.PointerTo(key).Implements(textUnmarshaler) {
		return nil, fmt.Errorf("field %q of type %v: its keys are no strings", path, t)
	}
	m := &mapPlan{t: t, texts: t == reflect.TypeFor[map[string]string](), id: ids.Add(1), size: int(t.Elem().Size())}
	fields := Mask{}
	for name, below := range mask {
		if _, entry := unbracket(name); !entry {
			fields[name] = below
		}
	}
	var err error
	switch {
	case mask == nil && t.Elem() == quantityType: // of which a reader has a copy
		m.rest = &plan{decode: decodeOwn}
	case mask == nil:
		m.rest, err = c.plan(t.Elem(), nil, path)
	case len(fields) > 0:
		m.rest, err = c.plan(t.Elem(), fields, path)
	}
	for name, below := range mask {
		key, entry := unbracket(name)
		if !entry || err != nil {
			continue
		}
		if len(fields) > 0 {
			below = merged(below, fields)
		}
		if m.some == nil {
			m.some = map[string]*plan{}
		}
		m.some[key], err = c.plan(t.Elem(), below, path+name)
	}
	return m.decode, err
}

func (m *mapPlan) decode(d *decoder, v reflect.Value) error {
	switch d.peek() {
	case 'n':
		v.SetZero()
		return d.literal("null")
	case '{':
	default:
		return d.unfit(v)
	}
	found, done, err := d.lookFor(m.id, v)
	if done || err != nil {
		return err
	}
	if v.IsNil() {
		if err := d.spend(1, mapRoom(0, m.size)); err != nil {
			return err
		}
		v.Set(reflect.MakeMap(m.t))
	}
	if err := m.entries(d, v); err != nil {
		return err
	}
	d.share.keep(found, v.UnsafePointer(), 0)
	return nil
}

// entries decodes the entries of a map into v, which is not nil.
func (m *mapPlan) entries(d *decoder, v reflect.Value) error {
	entries := v.Len()
	var texts map[string]string
	if m.texts {
		texts = *v.Addr().Interface().(*map[string]string)
	}
	var key, value reflect.Value // made once they are needed, and used for each entry
	more, err := d.open('}')
	for ; more && err == nil; more, err = d.more('}') {
		name, err := d.name()
		if err != nil {
			return err
		}
		p := m.of(name)
		if p == nil {
			if _, err := d.skip(); err != nil {
				return err
			}
			continue
		}
		if err := d.spend(1, mapRoom(entries+1, m.size)-mapRoom(entries, m.size)); err != nil {
			return err
		}
		entries++
		made := d.made.string(name, d.share)
		if m.texts && d.peek() == '"' {
			text, err := d.text()
			if err != nil {
				return err
			}
			texts[made] = d.made.string(text, d.share)
			continue
		}
		if !key.IsValid() {
			if err := d.spend(1, stringSize+m.size); err != nil {
				return err
			}
			key, value = reflect.New(m.t.Key()).Elem(), reflect.New(m.t.Elem()).Elem()
		}
		key.SetString(made)
		value.SetZero()
		d.place = m.id
		if err := p.decode(d, value); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
	}
	return err
}

// of returns the plan of an entry, or nil if the mask does not want it.
func (m *mapPlan) of(name []byte) *plan {
	if len(m.some) > 0 {
		if p := m.some[string(name)]; p != nil {
			return p
		}
	}
	return m.rest
}
