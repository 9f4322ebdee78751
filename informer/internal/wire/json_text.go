// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// textEnd is where in data, from i on, something is that does not stand for itself in
// a string: a quote, a backslash or a control character. It is len(data) if there is
// none.
func textEnd(data []byte, i int) int {
	for ; i+8 <= len(data); i += 8 {
		w := binary.LittleEndian.Uint64(data[i:])
		quote := w ^ lowBits*'"'
		slash := w ^ lowBits*'\\'
		// The high bit of a byte is set where it was zero, or less than a space; what
		// is wrong above the first of them does not matter.
		found := ((w-lowBits*' ')&^w | (quote-lowBits)&^quote | (slash-lowBits)&^slash) & highBits
		if found != 0 {
			return i + bits.TrailingZeros64(found)>>3
		}
	}
	for ; i < len(data); i++ {
		if c := data[i]; c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return i
}

// plainEnd is how much of text has neither escapes nor anything but ASCII.
func plainEnd(text []byte) int {
	i := 0
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		slash := w ^ lowBits*'\\'
		if ((slash-lowBits)&^slash|w)&highBits != 0 {
			break
		}
	}
	for i < len(text) && text[i] != '\\' && text[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// unquote is what a string means of which text is between the quotes: text itself, if
// it has neither escapes nor what is not UTF-8, which becomes U+FFFD as in
// encoding/json. The escapes are known to be good.
func unquote(text []byte) []byte {
	plain := plainEnd(text)
	if plain == len(text) {
		return text
	}
	if text[plain] != '\\' && utf8.Valid(text[plain:]) && bytes.IndexByte(text[plain:], '\\') < 0 {
		return text
	}
	out := make([]byte, plain, len(text)+2*utf8.UTFMax)
	copy(out, text)
	for i := plain; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && text[i+1] == 'u':
			r := hex4(text[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				second := rune(-1)
				if i+6 <= len(text) && text[i] == '\\' && text[i+1] == 'u' {
					second = hex4(text[i+2:])
				}
				if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		case c == '\\':
			out = append(out, unescape(text[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, size := utf8.DecodeRune(text[i:])
			out = utf8.AppendRune(out, r)
			i += size
		}
	}
	return out
}

// unescape is what c is behind a backslash.
func unescape(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// hex4 is the number of four hexadecimal digits.
func hex4(digits []byte) (r rune) {
	for _, c := range digits[:4] {
		r = r<<4 | rune(unhex(c))
	}
	return r
}

// unhex is the value of a hexadecimal digit, -1 of anything else.
func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
