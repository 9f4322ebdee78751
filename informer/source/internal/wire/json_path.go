// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"strconv"
	"strings"
)

// pathAt is the path of the field that the byte at a place of JSON is of, such as
// spec.containers[0].image or data[tls.crt]. It has names and no values: a name is in it
// once its colon was passed.
func pathAt(data []byte, at int) string {
	type level struct {
		array, passed bool
		name          []byte
		index         int
	}
	var (
		levels = []level{{}}
		in     = &levels[0]
	)
	for i := 0; i < at; i++ {
		switch c := data[i]; c {
		case '{', '[':
			levels = append(levels, level{array: c == '['})
		case '}', ']':
			levels = levels[:max(len(levels)-1, 1)]
		case '"':
			end := stringEnd(data[:at], i+1)
			if !in.passed {
				in.name = bytes.Trim(data[i:end], `"`)
			}
			i = end - 1
		case ':':
			in.passed = true
		case ',':
			in.passed, in.name = false, nil
			in.index++
		}
		in = &levels[len(levels)-1]
	}
	var path strings.Builder
	for _, l := range levels[1:] {
		if path.Len() > longPath {
			return path.String() + "…"
		}
		name := l.name[:min(len(l.name), longPath)]
		switch {
		case l.array:
			path.WriteString("[" + strconv.Itoa(l.index) + "]")
		case !l.passed:
		case bytes.ContainsAny(name, ".[] "):
			path.WriteString("[" + string(name) + "]")
		case path.Len() == 0:
			path.Write(name)
		default:
			path.WriteString("." + string(name))
		}
	}
	return path.String()
}

// longPath is the length of a path or a name from which on the rest is left out.
const longPath = 500

// valueKind is what kind of value begins with a byte, which is JSON.
func valueKind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "a null"
	}
	return "a number"
}

// seen names a byte that is in the wrong place. It can be of a value, unless JSON is made
// of it or, as of "<", HTML.
func seen(c byte) string {
	if strings.IndexByte(`{}[]:,"<`, c) >= 0 {
		return strconv.QuoteRune(rune(c))
	}
	return "a character"
}
