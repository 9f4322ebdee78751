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
	path := ""
	for _, l := range levels[1:] {
		switch {
		case l.array:
			path += "[" + strconv.Itoa(l.index) + "]"
		case !l.passed:
		case bytes.ContainsAny(l.name, ".[] "):
			path += "[" + string(l.name) + "]"
		default:
			path = strings.TrimPrefix(path+"."+string(l.name), ".")
		}
	}
	return path
}

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
