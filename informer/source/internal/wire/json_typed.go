// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// JSONDecoder makes structs of a type of objects. It may be used concurrently.
type JSONDecoder struct {
	t    reflect.Type
	plan *plan
}

// NewJSONDecoder makes a decoder for a struct. The type is read as sigs.k8s.io/json
// does, which Kubernetes uses; an error says what of it is not supported, or which path
// of the mask is no field of it. A nil mask is all of it.
func NewJSONDecoder(t reflect.Type, mask Mask) (*JSONDecoder, error) {
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is no struct", t)
	}
	p, err := (&compiler{known: map[reflect.Type]*plan{}}).plan(t, mask, "")
	if err != nil {
		return nil, fmt.Errorf("type %v: %w", t, err)
	}
	return &JSONDecoder{t: t, plan: p}, nil
}

// Decode makes into, a zero struct of the decoder's type that is addressable, what raw
// says. What it makes is what sigs.k8s.io/json does, case-sensitively; but where that
// goes on behind a value that does not fit its field, this ends. Errors are an [*Error]
// of the place in raw, and leave into in any state; that an object takes more memory
// than [roomFor] says is one. What a type makes that has an UnmarshalJSON
// is estimated: by how many objects it is made of, and the largest thing that the type has.
//
// What is equal is in common with other objects of the share; nil is nothing. As that must
// not be changed, an object in which a name comes twice, so that the second time adds to
// the first, is decoded once more by itself. Nothing refers to raw.
func (j *JSONDecoder) Decode(raw []byte, limits Limits, share *Share, into reflect.Value) error {
	if into.Type() != j.t || !into.CanSet() {
		return fmt.Errorf("a decoder of %v cannot make %v, or that cannot be set", j.t, into.Type())
	}
	d := decoders.Get().(*decoder)
	defer d.release()
	d.begin(raw, limits, share)
	if b := d.peek(); b != '{' {
		return d.unwanted()
	}
	err := j.plan.decode(d, into)
	if errors.Is(err, errTwice) {
		into.SetZero()
		d.begin(raw, limits, nil)
		err = j.plan.decode(d, into)
	}
	if err != nil {
		return err
	}
	return d.end()
}

// plan is how a type is made. It exists before it is complete, as types refer to
// themselves.
type plan struct {
	decode func(d *decoder, v reflect.Value) error
}

type compiler struct {
	known map[reflect.Type]*plan // of all of a type
	level int
}

// maxLevel is how deep types may be nested: a slice of itself has no end, and whatever
// mask there is for it.
const maxLevel = 1000

// plan makes the plan of a type. The path is where it is, for errors.
func (c *compiler) plan(t reflect.Type, mask Mask, path string) (*plan, error) {
	if p := c.known[t]; p != nil && mask == nil {
		return p, nil
	}
	if c.level++; c.level > maxLevel {
		return nil, fmt.Errorf("field %q of type %v: there is no end to it", path, t)
	}
	defer func() { c.level-- }()
	p := new(plan)
	if mask == nil {
		c.known[t] = p
	}
	var err error
	p.decode, err = c.compile(t, mask, path)
	return p, err
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	timeType        = reflect.TypeFor[metav1.Time]()
	quantityType    = reflect.TypeFor[resource.Quantity]()
	intOrStringType = reflect.TypeFor[intstr.IntOrString]()
)

// compile makes the function that decodes a type.
func (c *compiler) compile(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	unsupported := func(why string) (func(*decoder, reflect.Value) error, error) {
		return nil, fmt.Errorf("field %q of type %v: %s", path, t, why)
	}
	kind, own, text := t.Kind(), false, false
	if kind != reflect.Pointer && kind != reflect.Interface {
		own = reflect.PointerTo(t).Implements(unmarshaler)
		text = reflect.PointerTo(t).Implements(textUnmarshaler)
	}
	if (own || text) && t.Name() == "" {
		return unsupported("it has methods but no name")
	}
	if own || kind != reflect.Struct && kind != reflect.Map && kind != reflect.Pointer && kind != reflect.Slice && kind != reflect.Interface {
		for name := range mask {
			return nil, fmt.Errorf("field %q: there are no fields in %v", join(path, name), t)
		}
	}
	switch {
	case own:
		return ownDecoder(t), nil
	case text:
		return unsupported("it is made of text")
	case t == reflect.TypeFor[json.Number]():
		return unsupported("it is a number as text")
	case kind == reflect.Struct:
		return c.structOf(t, mask, path)
	case kind == reflect.Slice:
		return c.slice(t, mask, path)
	case kind == reflect.Map:
		return c.mapOf(t, mask, path)
	case kind == reflect.Pointer:
		return c.pointer(t, mask, path)
	case kind == reflect.Interface && t.NumMethod() == 0:
		return decodeAny(mask), nil
	}
	if decode := scalarDecoder(kind); decode != nil {
		return decode, nil
	}
	return unsupported("there is no such thing in JSON")
}

// ownDecoder decodes a type that has an UnmarshalJSON.
func ownDecoder(t reflect.Type) func(*decoder, reflect.Value) error {
	switch t {
	case timeType:
		return decodeTime
	case intOrStringType:
		return decodeIntOrString
	case quantityType:
		return decodeQuantity
	}
	return decodeOwnWith(reach(t, map[reflect.Type]bool{}))
}

// scalarDecoder decodes a kind that has no parts. It is nil if there is no such kind in JSON.
func scalarDecoder(kind reflect.Kind) func(*decoder, reflect.Value) error {
	switch kind {
	case reflect.Bool:
		return decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return decodeInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return decodeUint
	case reflect.Float32, reflect.Float64:
		return decodeFloat
	case reflect.String:
		return decodeString
	}
	return nil
}

// pointer plans a pointer, for which the mask is that of what it refers to.
func (c *compiler) pointer(t reflect.Type, mask Mask, path string) (func(*decoder, reflect.Value) error, error) {
	below, err := c.plan(t.Elem(), mask, path)
	if err != nil {
		return nil, err
	}
	id, size := ids.Add(1), int(t.Elem().Size())
	return func(d *decoder, v reflect.Value) error {
		if null, err := d.null(); null || err != nil {
			v.SetZero()
			return err
		}
		key, done, err := d.lookFor(id, v)
		if done || err != nil {
			return err
		}
		if v.IsNil() {
			if err := d.spend(1, size); err != nil {
				return err
			}
			v.Set(reflect.New(t.Elem()))
		}
		if err := below.decode(d, v.Elem()); err != nil {
			return err
		}
		d.share.keep(key, v.UnsafePointer(), 0)
		return nil
	}, nil
}

// join is the path of a field below path.
func join(path, name string) string {
	if path == "" || name != "" && name[0] == '[' {
		return path + name
	}
	return path + "." + name
}

var errType = errors.New("a value that does not fit its field")

// unfit is the error of a value that does not fit v, if it is JSON.
func (d *decoder) unfit(v reflect.Value) error {
	d.peek()
	at := d.at
	if _, err := d.skip(); err != nil {
		return err
	}
	return d.unfitAt(at, v)
}

// unfitAt is unfit for a value that is JSON and begins at a place.
func (d *decoder) unfitAt(at int, v reflect.Value) error {
	d.at = at
	return d.fail(unfitFor(d.peek(), v.Type().String()))
}

// unfitFor is the error of a value that begins with a byte, where something else is wanted.
func unfitFor(b byte, want string) error {
	return fmt.Errorf("%w: %s for %s", errType, valueKind(b), want)
}
