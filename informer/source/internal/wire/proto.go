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

// The types of fields in protobuf.
const (
	varintType  = 0
	fixed64Type = 1
	bytesType   = 2
	fixed32Type = 5
)

var (
	errVarint = errors.New("a varint of more than 64 bits")
	errCut    = errors.New("a field that goes on behind the end of its message")
)

// uvarint reads a varint that ends before end.
func (r *reader) uvarint(end int64) (uint64, error) {
	var v uint64
	for shift := uint(0); ; shift += 7 {
		if r.offset >= end {
			return 0, errCut
		}
		c, err := r.ReadByte()
		if err != nil {
			if shift > 0 && err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		if shift == 63 && c > 1 {
			return 0, errVarint
		}
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, nil
		}
	}
}

// tag reads the beginning of a field. Before the first byte of it io.EOF is the end.
func (r *reader) tag(end int64) (field int, kind int, err error) {
	v, err := r.uvarint(end)
	if err != nil {
		return 0, 0, err
	}
	return parseTag(v)
}

func parseTag(v uint64) (field, kind int, err error) {
	if v>>3 == 0 || v>>3 > math.MaxInt32 {
		return 0, 0, fmt.Errorf("field number %d", v>>3)
	}
	return int(v >> 3), int(v & 7), nil
}

// bytes reads a field of at most limit bytes that ends at end at most.
func (r *reader) bytes(limit int, end int64) ([]byte, error) {
	size, err := r.uvarint(end)
	if err != nil {
		return nil, unexpected(err)
	}
	switch {
	case size > uint64(limit):
		return nil, tooLarge(size, limit)
	case int64(size) > end-r.offset:
		return nil, errCut
	}
	data, err := r.read(int(size))
	return data, unexpected(err)
}

// unexpected is err in the middle of something.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// skip skips a field of a kind.
func (r *reader) skip(kind int, end int64) error {
	var size uint64
	switch kind {
	case varintType:
		_, err := r.uvarint(end)
		return unexpected(err)
	case fixed64Type:
		size = 8
	case fixed32Type:
		size = 4
	case bytesType:
		var err error
		if size, err = r.uvarint(end); err != nil {
			return unexpected(err)
		}
	default:
		return fmt.Errorf("a field of type %d", kind)
	}
	if size > uint64(end-r.offset) {
		return errCut
	}
	for size > 0 {
		part := min(size, math.MaxInt32)
		if err := r.discard(int(part)); err != nil {
			return unexpected(err)
		}
		size -= part
	}
	return nil
}

// next reads a field out of data: its value, if it is of bytes, and what is left.
func next(data []byte) (field, kind int, value, rest []byte, err error) {
	v, n := binary.Uvarint(data)
	if n <= 0 {
		return 0, 0, nil, nil, varintError(n)
	}
	if field, kind, err = parseTag(v); err != nil {
		return 0, 0, nil, nil, err
	}
	data = data[n:]
	switch kind {
	case varintType:
		if _, n = binary.Uvarint(data); n <= 0 {
			return 0, 0, nil, nil, varintError(n)
		}
		return field, kind, data[:n], data[n:], nil
	case fixed64Type:
		n = 8
	case fixed32Type:
		n = 4
	case bytesType:
		size, m := binary.Uvarint(data)
		if m <= 0 {
			return 0, 0, nil, nil, varintError(m)
		}
		data = data[m:]
		if size > uint64(len(data)) {
			return 0, 0, nil, nil, errCut
		}
		n = int(size)
	default:
		return 0, 0, nil, nil, fmt.Errorf("a field of type %d", kind)
	}
	if n > len(data) {
		return 0, 0, nil, nil, errCut
	}
	return field, kind, data[:n:n], data[n:], nil
}

func varintError(n int) error {
	if n == 0 {
		return errCut
	}
	return errVarint
}

// fields calls each for every field of bytes in data.
func fields(data []byte, each func(field int, value []byte) error) error {
	for len(data) > 0 {
		field, kind, value, rest, err := next(data)
		if err != nil {
			return err
		}
		if kind == bytesType {
			if err := each(field, value); err != nil {
				return err
			}
		}
		data = rest
	}
	return nil
}
