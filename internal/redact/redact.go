// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package redact makes the texts of errors safe for logs and health: short, and without the
// content of objects or passwords.
package redact

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/runtime"
)

const (
	most   = 1000     // the length in bytes of a text that is cut
	spare  = 200      // a text is cut if it is longer than most+spare: it can contain a cut text
	looked = 4 * most // the number of bytes that are examined
)

// quoting are the texts of libraries that quote input they cannot read, and their
// replacements. Each pattern also matches a text that was cut.
var quoting = []struct {
	pattern *regexp.Regexp
	left    string
}{
	// net/url and net/http, which show the user.
	{regexp.MustCompile(`://[^\s/"]*@`), `://***@`},
	// encoding/json, sigs.k8s.io/json.
	{regexp.MustCompile(`(cannot unmarshal number) \S+`), `$1`},
	{regexp.MustCompile(`(?s)(trying to unmarshal )"(?:[^"\\]|\\.)*("|$)`), `$1…`},
	{regexp.MustCompile(`(?s)(invalid character) '(?:\\.[^']*|.)'`), `$1`},
	// strconv and time.
	{regexp.MustCompile(`(?s)(strconv\.\w+: parsing )"(?:[^"\\]|\\.)*("|$)`), `$1…`},
	{regexp.MustCompile(`(?s)(parsing time ).*`), `$1…`},
	{regexp.MustCompile(`(?s)(time: [a-z ]+ )".*`), `$1…`},
	// k8s.io/apimachinery.
	{regexp.MustCompile(`(?s)(Object '\w+' is missing in ).*`), `$1…`},
	{regexp.MustCompile(`(?s)(unexpected object: ).*`), `$1…`},
	{regexp.MustCompile(`(?s)(accessor error: )(?:.*( is of the type [^\s,]+)|.*)`), `$1…$2`},
	{regexp.MustCompile(`(?s)(cannot parse )'.*`), `$1…`},
	// The plugins for credentials of k8s.io/client-go.
	{regexp.MustCompile(`(?s)(decoding stdout: ).*`), `$1…`},
}

// Text returns s with at most 1200 bytes, control characters escaped, the userinfo of URLs
// replaced, and without the values that known libraries quote when they cannot read them.
func Text(s string) string {
	size := len(s)
	if size > looked {
		s = s[:looked]
		s = s[:strings.LastIndexByte(s, ' ')+1] // a value that is replaced must not be cut in two
	}
	for _, q := range quoting {
		s = q.pattern.ReplaceAllString(s, q.left)
	}
	s = escaped(s)
	if size <= looked && len(s) <= most+spare {
		return s
	}
	if len(s) > most {
		at := most
		for !utf8.RuneStart(s[at]) {
			at--
		}
		s = s[:at]
	}
	return fmt.Sprintf("%s… (%d bytes)", s, size)
}

// escaped returns s with unprintable characters escaped as in a Go string.
func escaped(s string) string {
	plain := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if plain(r) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// Error returns err if [Text] does not change its text. Otherwise it returns an error
// with the new text that wraps err.
func Error(err error) error {
	if err == nil {
		return nil
	}
	was := fmt.Sprint(err) // err can be a nil pointer
	if text := Text(was); text != was {
		return &redacted{text, err}
	}
	return err
}

type redacted struct {
	text string
	err  error
}

// Error implements error.
func (r *redacted) Error() string { return r.text }

// Unwrap returns the error with the original text.
func (r *redacted) Unwrap() error { return r.err }

// decoders are the beginnings of decoders' errors that quote only values which [Text]
// removes.
var decoders = []string{
	"json: cannot unmarshal ", "invalid character ", "unexpected end of JSON input",
	"couldn't get version/kind; json parse error: ", "no kind ", "no version ", "Object ", "serializer for ", "0-length response ", "no serializers registered ",
}

// Decoding returns a safe error for err, the error of a decoder. It does not wrap err,
// because types with their own decoding can quote the input.
func Decoding(err error) error {
	if negotiate := (runtime.NegotiateError{}); errors.As(err, &negotiate) {
		return Error(err) // it quotes only the content type
	}
	text := err.Error()
	for _, known := range decoders {
		if strings.HasPrefix(text, known) {
			return errors.New(Text(text))
		}
	}
	return errors.New("a value that does not fit its field")
}

// Panic returns a text for the value of a panic. For a value that can contain an object,
// it is the type only.
func Panic(v any) string {
	switch v.(type) {
	case nil, error:
		return Text(fmt.Sprint(v))
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Struct, reflect.Map, reflect.Slice, reflect.Array:
		return fmt.Sprintf("a %T", v)
	}
	return Text(fmt.Sprint(v))
}
