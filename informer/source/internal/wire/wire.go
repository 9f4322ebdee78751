// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"io"
)

// Format is how objects are written.
type Format uint8

const (
	Protobuf Format = iota + 1
	JSON
)

// Object is an object as it was sent. It, and what it refers to but the strings, is
// valid until the next one is read.
type Object struct {
	Format Format

	// Raw is the object by itself. In protobuf it has no envelope.
	Raw []byte

	// APIVersion and Kind are what the object says of itself, or what is said of it
	// beside it. Both are empty where nothing is.
	APIVersion, Kind string

	// What identifies it. Empty is what it does not say.
	Namespace, Name, UID, Version string

	// InitialEventsEnd is whether its annotations say so: it is a bookmark.
	InitialEventsEnd bool

	// Err is why the object cannot be decoded, as far as that is known before it is: it is
	// too large or too deep, or its metadata are none. What identifies it is set all the
	// same if it can be read, and else Name is empty.
	Err error

	// Size is about how many bytes the object took that was decoded last from it, without
	// what it has in common with others. It is 0 if that is not known.
	Size int
}

// ListMeta is what a list says of itself.
type ListMeta struct {
	APIVersion, Kind string // such as v1 and PodList
	Version          string
	Continue         string
	Remaining        int64 // -1 if it does not say
	NoItems          bool  // in JSON: by now, it did not say which it has, by a null neither
}

// Limits are for what a server may send. None may be zero.
type Limits struct {
	Object int // bytes of an object
	Depth  int // of nesting: of arrays and objects in JSON, of messages in protobuf
}

// DefaultLimits accept what an API server does: a request of 3 MiB, of which etcd stores
// 1.5 MiB by default, and JSON that is nested 10000 deep, the limit of encoding/json. In
// JSON a stored object takes up to six times as much, as each byte can be an escape.
var DefaultLimits = Limits{Object: 64 << 20, Depth: 10000}

// readable returns how many bytes an object can have to be read. One that has more than the
// limit is known by that, and left out.
func (l Limits) readable() int { return max(l.Object, 16<<20) }

// tooLarge returns the error of an object of size bytes, nil if it is not too large.
func (l Limits) tooLarge(size int) error {
	if size <= l.Object {
		return nil
	}
	return tooLarge(uint64(size), l.Object)
}

// Error says what is wrong with a body, and where.
type Error struct {
	Offset int64  // in the body
	Path   string // of the field, empty where it is not known
	Err    error
}

// Error implements error. It quotes no value of an object.
func (e *Error) Error() string {
	if e.Path != "" {
		return fmt.Sprintf("at byte %d of the body, field %s: %v", e.Offset, e.Path, e.Err)
	}
	return fmt.Sprintf("at byte %d of the body: %v", e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// ReadList reads a list, and calls yield for each of its objects, in order. The list's
// metadata may come before or after them: it is complete only when ReadList returns,
// with a nil error, which says that all of it was read. An object with an Err is yielded
// as well. An error of yield ends it and is returned as it is. About calls, if there is any, once before the first yield with
// what is known of the list by then; an error of it ends it as well.
func ReadList(body io.Reader, limits Limits, about func(ListMeta) error, yield func(*Object) error) (ListMeta, error) {
	r := newReader(body)
	format, err := r.format()
	if err != nil {
		return ListMeta{}, r.fail(err)
	}
	if format == JSON {
		return readJSONList(r, limits, about, yield)
	}
	return readProtobufList(r, limits, about, yield)
}
