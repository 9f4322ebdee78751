// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// message is how a type is read: its fields by their numbers. One that is not a struct
// of fields has a method that reads it.
type message struct {
	typ    reflect.Type
	fields []*protoField // by number; nil: it is skipped
	method bool          // by its Unmarshal
}

// field returns the field of a number, nil if there is none.
func (m *message) field(number int) *protoField {
	if number < len(m.fields) {
		return m.fields[number]
	}
	return nil
}

// protoField is how a field is read.
type protoField struct {
	name   string
	offset uintptr // in the struct
	typ    reflect.Type
	read   protoKind
	wire   int // type on the wire of one value

	pointer  bool // to one value
	repeated bool
	identity int // 1 to 4: a field of ObjectMeta that Object has as well

	elem    *message // of messages
	elemTyp reflect.Type
	id      uint64 // of the field, for what is shared

	// Of maps.
	key, value *protoField
	keys       Mask // which entries; nil: all
}

// protoKind is what one value is.
type protoKind uint8

const (
	readString protoKind = iota + 1
	readBytes
	readBool
	readInt32
	readInt
	readInt64
	readUint32
	readUint64
	readFloat32
	readFloat64
	readMessage
	readMap
)

// protoUnmarshaler is what the types of Kubernetes have.
type protoUnmarshaler interface{ Unmarshal([]byte) error }

var (
	protoUnmarshalerType = reflect.TypeFor[protoUnmarshaler]()
	objectMetaType       = reflect.TypeFor[metav1.ObjectMeta]()
)

// HasUnmarshal reports whether a pointer to the type reads itself from protobuf.
func HasUnmarshal(typ reflect.Type) bool {
	return reflect.PointerTo(typ).Implements(protoUnmarshalerType)
}

var protoKinds = map[reflect.Kind]protoKind{
	reflect.String: readString, reflect.Bool: readBool, reflect.Int32: readInt32, reflect.Int64: readInt64, reflect.Int: readInt,
	reflect.Uint32: readUint32, reflect.Uint64: readUint64, reflect.Float32: readFloat32, reflect.Float64: readFloat64,
}

// planner makes messages of types.
type planner struct {
	done map[planned]*message
}

// ids are given to fields, so that what is shared by one is not taken for that of
// another, whatever decoders have a Share in common.
var ids atomic.Uint64

// planned is what a message is for. Masks differ by where they are.
type planned struct {
	typ  reflect.Type
	mask string
}

var errNoFields = errors.New("it is neither a struct with protobuf tags nor has it an Unmarshal method")

// plan makes the message of a type, of which mask says what is wanted.
func (p *planner) plan(typ reflect.Type, mask Mask, path string) (*message, error) {
	at := planned{typ: typ}
	if mask != nil {
		at.mask = path
	}
	if m := p.done[at]; m != nil {
		return m, nil
	}
	m := &message{typ: typ}
	p.done[at] = m
	if err := p.fill(m, typ, mask, path); err != nil {
		if mask != nil || !HasUnmarshal(typ) {
			return nil, err
		}
		*m = message{typ: typ, method: true} // which knows more
	}
	return m, nil
}

// fill fills in the fields of a message.
func (p *planner) fill(m *message, typ reflect.Type, mask Mask, path string) error {
	if !hasFields(typ) {
		if !HasUnmarshal(typ) {
			return fmt.Errorf("%s: %w", typ, errNoFields)
		}
		if mask != nil {
			return fmt.Errorf("field %q: there is nothing to choose from in a %s", path, typ)
		}
		m.method = true
		return nil
	}
	known := map[string]bool{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, ok := f.Tag.Lookup("protobuf")
		if !ok {
			continue // TypeMeta
		}
		number, name, err := parseProtobufTag(tag, f.Type)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", typ, f.Name, err)
		}
		below, wanted := mask, true
		if name, inline := jsonName(f, name); mask != nil && !inline {
			known[name] = true
			below, wanted = mask[name]
		} else if mask != nil {
			below = Mask{}
			for inner := range namesOf(f.Type) {
				known[inner] = true
				if m, ok := mask[inner]; ok {
					below[inner] = m
				}
			}
			wanted = len(below) > 0
		}
		if !wanted {
			continue
		}
		field, err := p.field(f, below, join(path, name))
		if err != nil {
			return fmt.Errorf("%s.%s: %w", typ, f.Name, err)
		}
		field.name = name
		if typ == objectMetaType {
			field.identity = map[string]int{"Name": 1, "Namespace": 2, "UID": 3, "ResourceVersion": 4}[f.Name]
		}
		for len(m.fields) <= number {
			m.fields = append(m.fields, nil)
		}
		m.fields[number] = field
	}
	for name := range mask {
		if !known[name] && !(hasTypeMeta(typ) && (name == "apiVersion" || name == "kind")) {
			return fmt.Errorf("field %q: a %s has none of that name", join(path, name), typ)
		}
	}
	return nil
}

// isTypeMeta reports whether a field is a TypeMeta, of Kubernetes or of somebody who has
// types of his own, which is not sent.
func isTypeMeta(f reflect.StructField) bool {
	_, sent := f.Tag.Lookup("protobuf")
	return f.Anonymous && f.Name == "TypeMeta" && f.Type.Kind() == reflect.Struct && !sent
}

func hasTypeMeta(typ reflect.Type) bool {
	f, ok := typ.FieldByName("TypeMeta")
	return ok && isTypeMeta(f)
}

// hasFields reports whether all that there is of a type are fields with tags, so that
// its Unmarshal is generated and does what is done here.
func hasFields(typ reflect.Type) bool {
	if typ.Kind() != reflect.Struct {
		return false
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		tag, ok := f.Tag.Lookup("protobuf")
		if !isTypeMeta(f) && (!ok || tag == "-" || !f.IsExported()) {
			return false
		}
	}
	return true
}

// parseProtobufTag reads a tag such as bytes,1,opt,name=metadata.
func parseProtobufTag(tag string, typ reflect.Type) (number int, name string, err error) {
	parts := strings.Split(tag, ",")
	switch parts[0] {
	case "bytes", "varint":
	case "fixed32", "fixed64":
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Float32 && typ.Kind() != reflect.Float64 {
			return 0, "", fmt.Errorf("the protobuf tag %q of a %s", tag, typ)
		}
	default:
		return 0, "", fmt.Errorf("the protobuf tag %q", tag)
	}
	if len(parts) < 2 {
		return 0, "", fmt.Errorf("the protobuf tag %q has no number", tag)
	}
	number, err = strconv.Atoi(parts[1])
	if err != nil || number < 1 || number > 10_000 {
		return 0, "", fmt.Errorf("the protobuf tag %q has no number that makes sense", tag)
	}
	for _, part := range parts[2:] {
		if after, ok := strings.CutPrefix(part, "name="); ok {
			name = after
		}
	}
	return number, name, nil
}

// jsonName is what a field is called in paths, or that it is inline in its parent.
func jsonName(f reflect.StructField, otherwise string) (name string, inline bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" && (options == "inline" || f.Anonymous) {
		return "", true
	}
	if name == "" || name == "-" {
		name = otherwise
	}
	return name, false
}

// namesOf are the names of the fields of what is inline.
func namesOf(typ reflect.Type) map[string]bool {
	names := map[string]bool{}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() != reflect.Struct {
		return names
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		if name, inline := jsonName(f, f.Name); !inline {
			names[name] = true
			continue
		}
		for name := range namesOf(f.Type) {
			names[name] = true
		}
	}
	return names
}

// field makes the field f, of which mask says what is wanted.
func (p *planner) field(f reflect.StructField, mask Mask, path string) (*protoField, error) {
	field := &protoField{offset: f.Offset, typ: f.Type, id: ids.Add(1)}
	typ := f.Type
	switch {
	case typ.Kind() == reflect.Map:
		return field, p.mapField(field, mask, path)
	case typ.Kind() == reflect.Pointer:
		field.pointer = true
		typ = typ.Elem()
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() != reflect.Uint8 && !HasUnmarshal(typ):
		field.repeated = true
		typ = typ.Elem()
	}
	return field, p.value(field, typ, mask, path)
}

// value says how one value of a type is read.
func (p *planner) value(field *protoField, typ reflect.Type, mask Mask, path string) (err error) {
	field.elemTyp = typ
	field.wire = bytesType
	switch kind, scalar := protoKinds[typ.Kind()]; {
	case HasUnmarshal(typ) || typ.Kind() == reflect.Struct:
		field.read = readMessage
		field.elem, err = p.plan(typ, mask, path)
		return err
	case scalar:
		field.read = kind
		switch kind {
		case readString:
		case readFloat32:
			field.wire = fixed32Type
		case readFloat64:
			field.wire = fixed64Type
		default:
			field.wire = varintType
		}
	case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Uint8:
		field.read = readBytes
	default:
		return fmt.Errorf("a %s is nothing that protobuf has", typ)
	}
	if mask != nil {
		return fmt.Errorf("field %q: there is nothing to choose from in a %s", path, typ)
	}
	return nil
}

// mapField makes the field of a map, which is a repeated message of two fields.
func (p *planner) mapField(field *protoField, mask Mask, path string) error {
	field.read, field.wire, field.repeated = readMap, bytesType, true
	typ := field.typ
	if typ.Key().Kind() != reflect.String {
		return fmt.Errorf("a %s, whose keys are not strings", typ)
	}
	keys := Mask{}
	for name, below := range mask {
		if strings.HasPrefix(name, "[") {
			keys[name] = below
		}
	}
	if len(keys) > 0 {
		if len(keys) != len(mask) {
			return fmt.Errorf("field %q: name entries of the map or what is below all of them, not both", path)
		}
		for name, below := range keys {
			if below != nil {
				return fmt.Errorf("field %q: there is no choosing from one entry of a map", path+name)
			}
		}
		field.keys, mask = keys, nil
	}
	field.key, field.value = &protoField{typ: typ.Key()}, &protoField{typ: typ.Elem()}
	if err := p.value(field.key, typ.Key(), nil, path); err != nil {
		return err
	}
	return p.value(field.value, typ.Elem(), mask, path)
}
