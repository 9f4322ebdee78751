// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// reader is a body of which is known how much was read.
type reader struct {
	*bufio.Reader
	offset int64
	buf    []byte // of the object that was read last
	last   lastTexts
}

func newReader(body io.Reader) *reader {
	return &reader{Reader: bufio.NewReaderSize(body, 32<<10)}
}

// fail makes err an error of the place that has been read to. What ends too early is
// io.ErrUnexpectedEOF. Nil stays nil.
func (r *reader) fail(err error) error {
	if err == nil {
		return nil
	}
	if at := (*Error)(nil); errors.As(err, &at) {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Offset: r.offset, Err: err}
}

// format looks at the first bytes of a list.
func (r *reader) format() (Format, error) {
	first, err := r.Peek(len(protobufMagic))
	switch {
	case string(first) == protobufMagic:
		return Protobuf, nil
	case len(first) > 0 && strings.HasPrefix(protobufMagic, string(first)):
		return 0, err // it is cut off
	}
	return JSON, r.expectJSON()
}

// expectJSON fails if what is next, behind space, is no object.
func (r *reader) expectJSON() error {
	c, err := r.peek()
	if err == nil && c != '{' {
		err = r.foreign()
	}
	return err
}

// ForeignError says that a body is neither protobuf nor JSON of Kubernetes.
type ForeignError struct {
	Head []byte // of the body
}

// Error implements error.
func (e *ForeignError) Error() string {
	what := "nothing"
	if len(e.Head) > 0 {
		what = seen(e.Head[0])
	}
	return fmt.Sprintf("it begins with %s, which is neither protobuf nor JSON of Kubernetes", what)
}

// headMost is how much of a foreign body is kept.
const headMost = 4 << 10

// foreign is the error for a body that begins with what is next. It waits for no more.
func (r *reader) foreign() error {
	head, _ := r.Peek(min(r.Buffered(), headMost))
	return &ForeignError{Head: bytes.Clone(head)}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// ReadByte implements io.ByteReader.
func (r *reader) ReadByte() (byte, error) {
	c, err := r.Reader.ReadByte()
	if err == nil {
		r.offset++
	}
	return c, err
}

// discard skips n bytes.
func (r *reader) discard(n int) error {
	skipped, err := r.Discard(n)
	r.offset += int64(skipped)
	return err
}

// growth is how much is allocated at most on the word of a server.
const growth = 1 << 20

// read returns the next n bytes, which are valid until the next call. What is
// allocated for them is no more than twice what has arrived, and a constant.
func (r *reader) read(n int) ([]byte, error) {
	if cap(r.buf) > 4*growth && n < growth {
		r.buf = nil // one large object does not cost for ever
	}
	if cap(r.buf) < n && n <= growth {
		r.buf = make([]byte, n, max(n, min(2*cap(r.buf), growth)))
	}
	r.buf = r.buf[:0]
	for len(r.buf) < n {
		if len(r.buf) == cap(r.buf) {
			grown := make([]byte, len(r.buf), min(n, max(growth, 2*cap(r.buf))))
			copy(grown, r.buf)
			r.buf = grown
		}
		part := r.buf[len(r.buf):min(n, cap(r.buf))]
		got, err := io.ReadFull(r.Reader, part)
		r.offset += int64(got)
		r.buf = r.buf[:len(r.buf)+got]
		if err != nil {
			return nil, err
		}
	}
	return r.buf, nil
}
