// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// protobufMagic is what an enveloped object begins with: a runtime.Unknown follows, in
// whose raw bytes the object is.
const protobufMagic = "k8s\x00"

// readProtobufList reads the envelope of a list as it comes. The bytes of the list are its
// last field, except the fields that name their encoding.
func readProtobufList(r *reader, limits Limits, about func(ListMeta) error, yield func(*Object) error) (ListMeta, error) {
	list := ListMeta{Remaining: -1}
	if err := r.discard(len(protobufMagic)); err != nil {
		return list, r.fail(err)
	}
	read := false
	for {
		field, kind, err := r.tag(math.MaxInt64)
		if err == io.EOF {
			if !read {
				return list, r.fail(fmt.Errorf("the envelope holds no list: %w", io.ErrUnexpectedEOF))
			}
			return list, nil
		}
		if err != nil {
			return list, r.fail(err)
		}
		switch {
		case field == 1 && kind == bytesType && !read: // typeMeta
			text, err := r.bytes(limits.Object, math.MaxInt64)
			if err == nil {
				list.APIVersion, list.Kind, err = r.last.typeMetaOf(text)
			}
			if err != nil {
				return list, r.fail(err)
			}
		case field == 2 && kind == bytesType && list.Kind == statusKind:
			raw, err := r.bytes(limits.Object, math.MaxInt64)
			if err == nil {
				err = &StatusError{Object{Format: Protobuf, Raw: raw}}
			}
			return list, r.fail(err)
		case field == 2 && kind == bytesType && !read: // raw
			read = true
			size, err := r.uvarint(math.MaxInt64)
			if err != nil {
				return list, r.fail(err)
			}
			if size > math.MaxInt64-uint64(r.offset) {
				return list, r.fail(fmt.Errorf("a list of %d bytes", size))
			}
			if err := r.items(&list, r.offset+int64(size), limits, about, yield); err != nil {
				return list, err
			}
		case (field == 3 || field == 4) && kind == bytesType: // contentEncoding, contentType
			text, err := r.bytes(limits.Object, math.MaxInt64)
			if err == nil && field == 3 && len(text) > 0 {
				err = errors.New("the list has a content encoding")
			}
			if err != nil {
				return list, r.fail(err)
			}
		default:
			return list, r.fail(fmt.Errorf("field %d of type %d in the envelope of a list", field, kind))
		}
	}
}

// items reads a list up to end: its metadata is field 1, its items are field 2.
func (r *reader) items(list *ListMeta, end int64, limits Limits, about func(ListMeta) error, yield func(*Object) error) error {
	var (
		o      Object
		called = about == nil // about was called
	)
	for r.offset < end {
		field, kind, err := r.tag(end)
		if err != nil {
			return r.fail(err)
		}
		switch {
		case field == 1 && kind == bytesType:
			meta, err := r.bytes(limits.Object, end)
			if err == nil {
				err = listMetaOf(meta, list)
			}
			if err != nil {
				return r.fail(err)
			}
		case field == 2 && kind == bytesType:
			if !called {
				called = true
				if err := about(*list); err != nil {
					return err
				}
			}
			raw, err := r.bytes(limits.readable(), end)
			if err != nil {
				return r.fail(err)
			}
			o = Object{Format: Protobuf, Raw: raw}
			r.last.identify(&o, limits)
			if err := yield(&o); err != nil {
				return err
			}
		default:
			if err := r.skip(kind, end); err != nil {
				return r.fail(err)
			}
		}
	}
	if !called {
		return about(*list)
	}
	return nil
}

// nextProtobuf reads a frame: four bytes of length, and an event.
func (r *reader) nextProtobuf(limits Limits, e *Event) error {
	var length [4]byte
	n, err := io.ReadFull(r.Reader, length[:])
	r.offset += int64(n)
	if err != nil {
		return err // io.EOF if there was nothing of it
	}
	if string(length[:]) == protobufMagic { // as a length it were 1.8 GB
		return r.statusInstead(limits)
	}
	size := binary.BigEndian.Uint32(length[:])
	if tooLong(size, limits) {
		return tooLarge(uint64(size), limits.readable())
	}
	frame, err := r.read(int(size))
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	var envelope []byte
	err = fields(frame, func(field int, value []byte) error {
		switch field {
		case 1:
			e.Type = eventType(value)
		case 2: // a RawExtension, which has the bytes in field 1
			return fields(value, func(field int, value []byte) error {
				if field == 1 {
					envelope = value
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.last.openEnvelope(envelope, limits, &e.Object)
}

// statusInstead is the error that an envelope is which comes where an event was expected,
// behind its first bytes.
func (r *reader) statusInstead(limits Limits) error {
	var what ListMeta
	for {
		field, kind, err := r.tag(math.MaxInt64)
		if err != nil {
			return unexpected(err)
		}
		if kind != bytesType {
			return fmt.Errorf("field %d of type %d in an envelope", field, kind)
		}
		value, err := r.bytes(limits.Object, math.MaxInt64)
		if err != nil {
			return err
		}
		switch {
		case field == 1:
			if what.APIVersion, what.Kind, err = r.last.typeMetaOf(value); err != nil {
				return err
			}
			if what.Kind != statusKind {
				return fmt.Errorf("a %s %q, not an event", what.APIVersion, what.Kind)
			}
		case field == 2 && what.Kind == statusKind:
			return &StatusError{Object{Format: Protobuf, Raw: value, APIVersion: what.APIVersion, Kind: what.Kind}}
		default:
			return fmt.Errorf("field %d in an envelope, not an event", field)
		}
	}
}

// eventType is the type of an event, without an allocation for those that there are.
func eventType(text []byte) string {
	for _, known := range [...]string{"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"} {
		if string(text) == known {
			return known
		}
	}
	return string(text)
}

// openEnvelope reads an object in its envelope.
func (l *lastTexts) openEnvelope(envelope []byte, limits Limits, o *Object) error {
	if len(envelope) < len(protobufMagic) || string(envelope[:len(protobufMagic)]) != protobufMagic {
		return errors.New("an object without the envelope of Kubernetes")
	}
	*o = Object{Format: Protobuf}
	found := false
	err := fields(envelope[len(protobufMagic):], func(field int, value []byte) (err error) {
		switch field {
		case 1:
			o.APIVersion, o.Kind, err = l.typeMetaOf(value)
		case 2:
			o.Raw, found = value, true
		case 3:
			if len(value) > 0 {
				err = errors.New("the object has a content encoding")
			}
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("an envelope without an object")
	}
	l.identify(o, limits)
	return nil
}

// tooLong reports whether an event of that many bytes is not read.
func tooLong(size uint32, limits Limits) bool {
	return int64(size) > int64(limits.readable())+eventRoom
}

func tooLarge(size uint64, limit int) error {
	return fmt.Errorf("an object of %d bytes, which is more than the limit of %d", size, limit)
}
