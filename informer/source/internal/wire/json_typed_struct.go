// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// field is a field of a struct, or of one that is embedded in it.
type field struct {
	name   string
	tagged bool
	index  []int
	t      reflect.Type
	plan   *plan
	at     int // among the fields
	id     uint64
}

// structPlan is how a struct is made.
type structPlan struct {
	fields []field // in the order of the struct
	byName map[string]*field
}

// structOf plans a struct, or of it what the mask wants.
func (c *compiler) structOf(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	all, err := fieldsOf(t, path)
	if err != nil {
		return nil, err
	}
	s := &structPlan{byName: map[string]*field{}}
	wanted := maskNames(mask)
	for _, f := range all {
		below, found := wanted[f.name]
		if mask != nil && !found {
			continue
		}
		delete(wanted, f.name)
		if f.plan, err = c.plan(f.t, below, join(path, f.name)); err != nil {
			return nil, err
		}
		f.at, f.id = len(s.fields), ids.Add(1)
		s.fields = append(s.fields, f)
	}
	for name := range wanted {
		return nil, fmt.Errorf("field %q: there is none in %v", join(path, name), t)
	}
	for i := range s.fields {
		s.byName[s.fields[i].name] = &s.fields[i]
	}
	return s.decode, nil
}

// maskNames is the mask of a struct with its names as they are in JSON: "[name]" is
// one, too.
func maskNames(mask Mask) Mask {
	names := Mask{}
	for name, below := range mask {
		name, _ := unbracket(name)
		if other, known := names[name]; known {
			below = merged(below, other)
		}
		names[name] = below
	}
	return names
}

// unbracket takes the brackets off "[name]". It returns whether there were any.
func unbracket(name string) (string, bool) {
	if len(name) < 2 || name[0] != '[' || name[len(name)-1] != ']' {
		return name, false
	}
	return name[1 : len(name)-1], true
}

func (s *structPlan) decode(d *decoder, v reflect.Value) error {
	switch d.peek() {
	case 'n':
		return d.literal("null")
	case '{':
	default:
		return d.unfit(v)
	}
	next := 0
	more, err := d.open('}')
	for ; more && err == nil; more, err = d.more('}') {
		name, err := d.name()
		if err != nil {
			return err
		}
		f := s.find(name, next)
		if f == nil {
			if _, err := d.skip(); err != nil {
				return err
			}
			continue
		}
		next = f.at + 1
		to, err := f.in(d, v)
		if err != nil {
			return err
		}
		d.place = f.id
		if err := f.plan.decode(d, to); err != nil {
			return err
		}
	}
	return err
}

// find finds a field by its name. The next one is the next of the struct in most cases,
// or one of those behind it.
func (s *structPlan) find(name []byte, next int) *field {
	for i := next; i < min(next+6, len(s.fields)); i++ {
		if s.fields[i].name == string(name) {
			return &s.fields[i]
		}
	}
	return s.byName[string(name)]
}

// in is the field in a struct. Structs that are embedded as pointers are made.
func (f *field) in(d *decoder, v reflect.Value) (reflect.Value, error) {
	if len(f.index) == 1 {
		return v.Field(f.index[0]), nil
	}
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if err := d.spend(1, int(v.Type().Elem().Size())); err != nil {
					return v, err
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v, nil
}

// fieldsOf finds the fields that JSON knows, with those of embedded structs. Of those
// with the same name the outermost counts, then that of which the name is in a tag; if
// there are still two, none does.
func fieldsOf(t reflect.Type, path string) ([]field, error) {
	type level struct {
		t     reflect.Type
		index []int
	}
	var (
		found   []field
		visited = map[reflect.Type]bool{}
	)
	for current := []level{{t: t}}; len(current) > 0; {
		var below []level
		times := map[reflect.Type]int{}
		for _, in := range current {
			times[in.t]++
		}
		for _, in := range current {
			if visited[in.t] {
				continue
			}
			visited[in.t] = true
			for i := range in.t.NumField() {
				sf := in.t.Field(i)
				f := field{index: append(slices.Clone(in.index), i), t: sf.Type}
				embedded, relevant, err := f.read(sf)
				if err != nil {
					return nil, fmt.Errorf("field %q: %w", join(path, f.name), err)
				}
				switch {
				case !relevant:
				case embedded != nil:
					below = append(below, level{embedded, f.index})
				default:
					found = append(found, f)
					if times[in.t] > 1 { // so are the others
						found = append(found, f)
					}
				}
			}
		}
		current = below
	}
	slices.SortStableFunc(found, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), compareBool(b.tagged, a.tagged), slices.Compare(a.index, b.index))
	})
	out := found[:0]
	for i := 0; i < len(found); {
		end := i + 1
		for end < len(found) && found[end].name == found[i].name {
			end++
		}
		if end == i+1 || len(found[i].index) != len(found[i+1].index) || found[i].tagged != found[i+1].tagged {
			out = append(out, found[i])
		}
		i = end
	}
	slices.SortFunc(out, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return out, nil
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// read reads what JSON says of a field: whether it knows of it, and the struct if its
// fields are those of the one that it is in.
func (f *field) read(sf reflect.StructField) (embedded reflect.Type, relevant bool, err error) {
	inner := sf.Type
	if inner.Name() == "" && inner.Kind() == reflect.Pointer {
		inner = inner.Elem()
	}
	if !sf.IsExported() && (!sf.Anonymous || inner.Kind() != reflect.Struct) {
		return nil, false, nil
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return nil, false, nil
	}
	name, options, _ := strings.Cut(tag, ",")
	f.name, f.tagged = name, name != ""
	if !f.tagged {
		f.name = sf.Name
	}
	switch {
	case strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r)
	}):
		return nil, false, fmt.Errorf("%q is no name", name)
	case slices.Contains(strings.Split(options, ","), "string"):
		return nil, false, fmt.Errorf("it is in a string")
	case !f.tagged && sf.Anonymous && inner.Kind() == reflect.Struct:
		if !sf.IsExported() && sf.Type.Kind() == reflect.Pointer {
			return nil, false, fmt.Errorf("it cannot be set")
		}
		return inner, true, nil
	case !sf.IsExported():
		return nil, false, fmt.Errorf("it cannot be set")
	}
	return nil, true, nil
}
