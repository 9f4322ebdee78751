// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"fmt"
)

// scanner checks a JSON value that comes in parts, and finds its end. It is ready once
// depth is set.
type scanner struct {
	depth int // how deep arrays and objects may be nested

	// lenient: that they are nested deeper is no error, but noted in deep.
	lenient, deep bool

	state scanState
	key   bool   // of a string: it is the name of a member
	left  uint8  // of an escape: hexadecimal digits that are missing
	rest  string // of a literal: what is missing
	nest
	members
}

// members are where the names of the members of a value begin. There may be more of
// them than are noted.
type members struct {
	seen  int // bytes of the value before those that are scanned
	count int
	at    [8]int
}

// nest is what a place in a value is nested in: an object is a one, an array a zero,
// the innermost is the lowest bit.
type nest struct {
	level int
	bits  uint64
	outer []uint64 // 64 levels each
}

func (n *nest) push(bit uint64) {
	if n.level > 0 && n.level%64 == 0 {
		n.outer = append(n.outer, n.bits)
	}
	n.bits = n.bits<<1 | bit
	n.level++
}

func (n *nest) pop() {
	n.bits >>= 1
	n.level--
	if n.level > 0 && n.level%64 == 0 {
		last := len(n.outer) - 1
		n.bits = n.outer[last]
		n.outer = n.outer[:last]
	}
}

type scanState uint8

// What is expected next.
const (
	wantValue scanState = iota
	wantValueOrEnd
	wantName
	wantNameOrEnd
	wantColon
	wantCommaOrEnd // the last one that may be after space
	inString
	inEscape
	inHex
	inLiteral
	numberSign
	numberZero
	numberInteger
	numberPoint
	numberFraction
	numberExponent
	numberExponentSign
	numberExponentDigits
)

var (
	errNumber  = errors.New("a number that is not one in JSON")
	errLiteral = errors.New("a value that is neither true nor false nor null")
	errEscape  = errors.New("an escape in a string that JSON has not")
	errControl = errors.New("a control character in a string")
)

// scan goes on with data. It returns how much of it belongs to the value, or comes
// before an error, and whether the value ended there: the end of a number is known
// only from what follows it.
func (s *scanner) scan(data []byte) (i int, ended bool, err error) {
	for i < len(data) {
		c := data[i]
		if c <= ' ' && s.state <= wantCommaOrEnd {
			if !isSpace(c) {
				return i, false, unwanted(c)
			}
			i++
			continue
		}
		switch s.state {
		case wantValueOrEnd, wantValue:
			if c == ']' && s.state == wantValueOrEnd {
				i++
				s.pop()
				break
			}
			if err := s.begin(c); err != nil {
				return i, false, err
			}
			i++
			continue
		case wantNameOrEnd, wantName:
			if c == '}' && s.state == wantNameOrEnd {
				i++
				s.pop()
				break
			}
			if c != '"' {
				return i, false, unwanted(c)
			}
			if s.level == 1 {
				if s.count < len(s.at) {
					s.at[s.count] = s.seen + i
				}
				s.count++
			}
			i++
			s.key, s.state = true, inString
			continue
		case inString:
			i, _ = textEnd(data, i)
			if i == len(data) {
				return i, false, nil
			}
			if c = data[i]; c == '\\' {
				i++
				s.state = inEscape
				continue
			}
			if c != '"' {
				return i, false, errControl
			}
			i++
			if s.key {
				s.state = wantColon
				if i < len(data) && data[i] == ':' { // as a server writes it
					i++
					s.state = wantValue
				}
				continue
			}
		case wantColon:
			if c != ':' {
				return i, false, unwanted(c)
			}
			i++
			s.state = wantValue
			continue
		case wantCommaOrEnd:
			object := s.bits&1 == 1
			switch {
			case c == ',' && object:
				i++
				s.state = wantName
				continue
			case c == ',':
				i++
				s.state = wantValue
				continue
			case c == '}' && object, c == ']' && !object:
				i++
				s.pop()
			default:
				return i, false, unwanted(c)
			}
		case inEscape, inHex:
			if err := s.escape(c); err != nil {
				return i, false, err
			}
			i++
			continue
		case inLiteral:
			if c != s.rest[0] {
				return i, false, errLiteral
			}
			i++
			if s.rest = s.rest[1:]; s.rest != "" {
				continue
			}
		default:
			if s.number(c) {
				i++
				continue
			}
			if s.state != numberZero && s.state != numberInteger && s.state != numberFraction && s.state != numberExponentDigits {
				return i, false, errNumber
			}
		}
		// A value ended.
		if s.level == 0 {
			return i, true, nil
		}
		s.state = wantCommaOrEnd
	}
	return i, false, nil
}

// begin is the first byte of a value.
func (s *scanner) begin(c byte) error {
	switch {
	case c == '"':
		s.key, s.state = false, inString
	case c == '{', c == '[':
		if s.level >= s.depth {
			if s.deep = true; !s.lenient {
				return tooDeep(s.depth)
			}
		}
		if c == '{' {
			s.push(1)
			s.state = wantNameOrEnd
		} else {
			s.push(0)
			s.state = wantValueOrEnd
		}
	case c == '0':
		s.state = numberZero
	case c >= '1' && c <= '9':
		s.state = numberInteger
	case c == '-':
		s.state = numberSign
	case c == 't':
		s.state, s.rest = inLiteral, "rue"
	case c == 'f':
		s.state, s.rest = inLiteral, "alse"
	case c == 'n':
		s.state, s.rest = inLiteral, "ull"
	default:
		return unwanted(c)
	}
	return nil
}

// escape is a byte behind a backslash.
func (s *scanner) escape(c byte) error {
	if s.state == inHex {
		if unhex(c) < 0 {
			return errEscape
		}
		if s.left--; s.left == 0 {
			s.state = inString
		}
		return nil
	}
	switch c {
	case 'u':
		s.state, s.left = inHex, 4
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.state = inString
	default:
		return errEscape
	}
	return nil
}

// number is whether c belongs to a number.
func (s *scanner) number(c byte) bool {
	digit := c >= '0' && c <= '9'
	switch s.state {
	case numberSign:
		if c == '0' {
			s.state = numberZero
		} else {
			s.state = numberInteger
		}
		if !digit {
			s.state = numberSign
		}
		return digit
	case numberZero, numberInteger:
		switch {
		case digit:
			return s.state == numberInteger
		case c == '.':
			s.state = numberPoint
		case c == 'e', c == 'E':
			s.state = numberExponent
		default:
			return false
		}
		return true
	case numberPoint, numberFraction:
		switch {
		case digit:
			s.state = numberFraction
		case s.state == numberFraction && (c == 'e' || c == 'E'):
			s.state = numberExponent
		default:
			return false
		}
		return true
	case numberExponent:
		if c == '+' || c == '-' {
			s.state = numberExponentSign
			return true
		}
	}
	if digit {
		s.state = numberExponentDigits
	}
	return digit
}

func unwanted(c byte) error { return fmt.Errorf("%s, which JSON has not there", seen(c)) }

func tooDeep(depth int) error {
	return fmt.Errorf("something that is nested more than %d deep", depth)
}
