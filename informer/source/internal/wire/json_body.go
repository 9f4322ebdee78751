// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"math"
)

// window returns what has arrived, at least a byte. It waits for no more than that.
func (r *reader) window() ([]byte, error) {
	if r.Buffered() == 0 {
		if _, err := r.Peek(1); err != nil {
			return nil, err
		}
	}
	return r.Peek(r.Buffered())
}

// peek goes to the next byte that is no space, and returns it.
func (r *reader) peek() (byte, error) {
	for {
		window, err := r.window()
		if err != nil {
			return 0, err
		}
		for i, c := range window {
			if !isSpace(c) {
				return c, r.discard(i)
			}
		}
		if err := r.discard(len(window)); err != nil {
			return 0, err
		}
	}
}

// expect goes over a byte, behind space.
func (r *reader) expect(want byte) error {
	c, err := r.peek()
	if err != nil {
		return unexpected(err)
	}
	if c != want {
		return unwanted(c)
	}
	return r.discard(1)
}

// value goes over the JSON value that is next, with a scanner that is new. Its bytes
// are valid until anything else is read: where they are all there they are not copied.
// What is allocated for them is no more than twice what has arrived. A limit below zero
// is one of zero.
func (r *reader) value(limit int, s *scanner) ([]byte, error) {
	limit = max(limit, 0)
	r.buf = r.buf[:0]
	for {
		window, err := r.window()
		if err != nil {
			return nil, unexpected(err)
		}
		n, ended, err := s.scan(window)
		if err == nil && n > limit-len(r.buf) {
			n, err = limit-len(r.buf), fmt.Errorf("something of more than %d bytes, which are the limit", limit)
		}
		part := window[:n:n]
		if err == nil && !(ended && len(r.buf) == 0) {
			r.buf = append(r.buf, part...)
			part = r.buf
		}
		if discardErr := r.discard(n); err == nil {
			err = discardErr
		}
		if err != nil {
			return nil, err
		}
		if ended {
			return part, nil
		}
		s.seen += n
	}
}

// leap goes over the JSON value that is next, however large it is.
func (r *reader) leap(depth int) error {
	s := scanner{depth: depth}
	for {
		window, err := r.window()
		if err != nil {
			return unexpected(err)
		}
		n, ended, err := s.scan(window)
		if discardErr := r.discard(n); err == nil {
			err = discardErr
		}
		if err != nil || ended {
			return err
		}
	}
}

// within makes err, which is of a place in a value, one of a place in the body, in
// which the value begins at start.
func within(start int64, err error) error {
	if at, ok := err.(*Error); ok { //nolint:errorlint // what wraps it has an offset of its own
		return &Error{Offset: start + min(at.Offset, math.MaxInt64-start), Path: at.Path, Err: at.Err}
	}
	return err
}
