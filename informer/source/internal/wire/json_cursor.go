// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"io"
)

// cursor is a place in bytes that are JSON, or not: it checks what it goes over.
type cursor struct {
	data  []byte
	at    int
	depth int // how much deeper arrays and objects may be nested
}

// fail makes err an error of the place.
func (c *cursor) fail(err error) error {
	var at *Error
	if errors.As(err, &at) {
		return err
	}
	return &Error{Offset: int64(c.at), Path: pathAt(c.data, c.at), Err: err}
}

// peek goes to the next byte that is no space, and returns it. At the end it is 0,
// which is nothing in JSON.
func (c *cursor) peek() byte {
	if c.at < len(c.data) && c.data[c.at] > ' ' {
		return c.data[c.at]
	}
	return c.space()
}

func (c *cursor) space() byte {
	for c.at < len(c.data) {
		b := c.data[c.at]
		if b > ' ' || !isSpace(b) {
			return b
		}
		c.at++
	}
	return 0
}

// unwanted is the error of the next byte.
func (c *cursor) unwanted() error {
	b := c.peek()
	if c.at == len(c.data) {
		return c.fail(io.ErrUnexpectedEOF)
	}
	return c.fail(unwanted(b))
}

// open goes into an object or an array, of which end is the last byte. It returns
// whether there is anything in it.
func (c *cursor) open(end byte) (bool, error) {
	if b := c.peek(); b != end-2 { // [ ] and { } are two apart
		return false, c.unwanted()
	}
	if c.depth == 0 {
		return false, c.fail(errors.New("something that is nested too deep"))
	}
	c.depth--
	c.at++
	if c.peek() != end {
		return true, nil
	}
	c.depth++
	c.at++
	return false, nil
}

// more goes over what is behind an element or a member. It returns whether there is
// another one.
func (c *cursor) more(end byte) (bool, error) {
	switch c.peek() {
	case ',':
		c.at++
		return true, nil
	case end:
		c.depth++
		c.at++
		return false, nil
	}
	return false, c.unwanted()
}

// text goes over a string. It returns what it means, as unquote does.
func (c *cursor) text() ([]byte, error) {
	if c.peek() != '"' {
		return nil, c.unwanted()
	}
	start := c.at + 1
	plain := true
	for i := start; ; {
		var other uint64
		i, other = textEnd(c.data, i)
		plain = plain && other == 0
		if i >= len(c.data) {
			c.at = len(c.data)
			return nil, c.fail(io.ErrUnexpectedEOF)
		}
		switch c.data[i] {
		case '"':
			c.at = i + 1
			text := c.data[start:i:i]
			if !plain {
				text = unquote(text)
			}
			return text, nil
		case '\\':
			plain = false
			size := 2
			if i+1 < len(c.data) && c.data[i+1] == 'u' {
				size = 6
			}
			if c.at = i; i+size > len(c.data) {
				return nil, c.fail(io.ErrUnexpectedEOF)
			}
			var s scanner
			for _, b := range c.data[i+1 : i+size] {
				if s.state == inString {
					break
				}
				if s.state == wantValue {
					s.state = inEscape
				}
				if err := s.escape(b); err != nil {
					return nil, c.fail(err)
				}
			}
			i += size
		default:
			c.at = i
			return nil, c.fail(errControl)
		}
	}
}

// name goes over the name of a member and the colon behind it. It returns what the
// name means.
func (c *cursor) name() ([]byte, error) {
	text, err := c.text()
	if err != nil {
		return nil, err
	}
	if c.peek() != ':' {
		return nil, c.unwanted()
	}
	c.at++
	return text, nil
}

// skip goes over a value. It returns its bytes.
func (c *cursor) skip() ([]byte, error) {
	c.peek()
	start := c.at
	s := scanner{depth: c.depth}
	n, ended, err := s.scan(c.data[start:])
	c.at += n
	if err == nil && !ended {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, c.fail(err)
	}
	return c.data[start:c.at:c.at], nil
}

// literal goes over a literal, of which the first byte was seen.
func (c *cursor) literal(text string) error {
	for i := range len(text) {
		if c.at == len(c.data) {
			return c.fail(io.ErrUnexpectedEOF)
		}
		if c.data[c.at] != text[i] {
			return c.fail(errLiteral)
		}
		c.at++
	}
	return nil
}

// null goes over a null, if that is what is next. It returns whether it is.
func (c *cursor) null() (bool, error) {
	if c.peek() != 'n' {
		return false, nil
	}
	return true, c.literal("null")
}

// number goes over a number. It returns its bytes, and whether it has neither a
// fraction nor an exponent.
func (c *cursor) number() (text []byte, integer bool, err error) {
	b := c.peek()
	i := c.at
	if b == '-' {
		i++
	}
	digits := i
	for i < len(c.data) && c.data[i]-'0' <= 9 {
		i++
	}
	if i > digits && i < len(c.data) && c.data[i]|0x20 != 'e' && c.data[i] != '.' && (c.data[digits] != '0' || i == digits+1) {
		text, c.at = c.data[c.at:i:i], i
		return text, true, nil
	}
	if b != '-' && b-'0' > 9 {
		return nil, false, c.unwanted()
	}
	text, err = c.skip()
	return text, false, err
}
