// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
)

// eventRoom is what an event may have of bytes besides its object.
const eventRoom = 4 << 10

// nextJSON reads an event. It waits for nothing behind its last byte.
func (r *reader) nextJSON(limits Limits, e *Event) error {
	c, err := r.peek()
	if err != nil {
		return err // io.EOF if there was nothing of it
	}
	if c != '{' {
		return fmt.Errorf("an event that is no object but begins with %s", seen(c))
	}
	start := r.offset
	raw, err := r.value(limits.readable()+eventRoom, &scanner{depth: limits.Depth + 1, lenient: true})
	if err != nil {
		return err
	}
	return within(start, e.read(raw, limits, start))
}

// read reads an event out of its bytes, which begin at start in the body.
func (e *Event) read(raw []byte, limits Limits, start int64) error {
	var (
		c      = &cursor{data: raw, depth: limits.Depth + 1}
		s      scanner
		begin  int64
		object []byte
	)
	err := c.members(func(name []byte) error {
		switch string(name) {
		case "type":
			text, err := c.text()
			e.Type = eventType(text)
			return err
		case "object":
			c.peek()
			begin = int64(c.at)
			s = scanner{depth: limits.Depth, lenient: true}
			n, _, err := s.scan(raw[begin:]) // it ends: raw was scanned
			object = raw[begin : begin+int64(n)]
			c.at += n
			return err
		}
		_, err := c.skip()
		return err
	})
	switch {
	case err != nil:
		return err
	case e.Type == "":
		if err := statusFor(raw, limits); err != nil {
			return err
		}
		return c.fail(errors.New("an event without a type"))
	case object == nil || object[0] != '{':
		return c.fail(errors.New("an event without an object"))
	}
	e.Object.Raw = object
	e.Object.identify(&s, limits, start+begin)
	return nil
}
