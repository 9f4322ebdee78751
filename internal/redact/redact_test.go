// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package redact

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const (
	canary = "c4nary-v4lue"
	number = "98765432109876543210"
)

func second[T any](_ T, err error) error { return err }

// The errors of libraries about input they cannot read keep their text, without the
// quoted input.
func TestTextQuotesNothing(t *testing.T) {
	type typed struct {
		Data map[string][]byte `json:"data"`
		N    int               `json:"n"`
		T    metav1.Time       `json:"t"`
		D    metav1.Duration   `json:"d"`
		S    int               `json:"s,string"`
		Num  json.Number       `json:"num"`
	}
	decode := func(text string) error { return utiljson.Unmarshal([]byte(text), &typed{}) }
	secret := &corev1.Secret{Data: map[string][]byte{"password": []byte(canary)}, StringData: map[string]string{"a": canary}}
	nested := map[string]any{"a": canary, "b": []any{canary + " is of the type x"}}
	for name, test := range map[string]struct {
		err  error
		left string
	}{
		"json number":           {decode(`{"n":` + number + `}`), "cannot unmarshal number into Go struct field typed.n of type int"},
		"std json number":       {json.Unmarshal([]byte(`{"n":`+number+`}`), &typed{}), "field typed.n of type int"},
		"json string":           {decode(`{"n":"` + canary + `"}`), "cannot unmarshal string into Go struct field typed.n"},
		"json time":             {decode(`{"t":"` + canary + `"}`), "parsing time"},
		"json time with quotes": {decode(`{"t":"\" as ` + canary + `"}`), "parsing time"},
		"json duration":         {decode(`{"d":"` + canary + `"}`), "time: invalid duration"},
		"duration unit":         {second(time.ParseDuration("3" + canary)), "time: unknown unit"},
		"duration without unit": {second(time.ParseDuration(number[:8])), "time: missing unit in duration"},
		"json in a string":      {decode(`{"s":"x into \"` + canary + `"}`), "into int"},
		"json number in string": {decode(`{"num":"` + canary + `"}`), "into Number"},
		"json syntax":           {decode(`{"n":é` + canary + `}`), "invalid character"},
		"std json syntax":       {json.Unmarshal([]byte(`{"n":'`+canary+`}`), &typed{}), "looking for beginning of value"},
		"integer":               {second(strconv.ParseInt(canary, 10, 64)), "strconv.ParseInt: parsing"},
		"integer with quotes":   {second(strconv.ParseInt(`"\" `+canary+"\n", 10, 64)), "invalid syntax"},
		"float":                 {second(strconv.ParseFloat(number+number+"e999", 64)), "value out of range"},
		"no kind":               {runtime.NewMissingKindErr(`{"data":"` + canary + `'` + canary), "Object 'Kind' is missing in"},
		"no version":            {runtime.NewMissingVersionErr("\n" + canary), "Object 'apiVersion' is missing in"},
		"an unexpected object":  {apierrors.FromObject(secret), "unexpected object:"},
		"a field":               {third(unstructured.NestedInt64(nested, "a")), ".a accessor error: … is of the type string"},
		"a field of fields":     {third(unstructured.NestedString(nested, "b")), "is of the type []interface {}"},
		"a user":                {&url.Error{Op: "Get", URL: "https://" + canary + "@host/path", Err: io.EOF}, `"https://***@host/path": EOF`},
		"a password":            {errors.New("no proxy at http://user:" + canary + "@proxy:1"), "http://***@proxy:1"},
		"credentials":           {errors.New(`getting credentials: decoding stdout: {"token":"` + canary), "decoding stdout:"},
	} {
		for how, err := range map[string]error{
			"by itself": test.err,
			"as text":   fmt.Errorf("unable to decode an event from the watch stream: %v", test.err), //nolint:errorlint // as client-go does
		} {
			text := Text(err.Error())
			if !strings.Contains(err.Error(), canary) && !strings.Contains(err.Error(), number[:8]) && !strings.Contains(name, "json s") {
				t.Errorf("%s %s: %q quotes nothing: there is nothing to take out", name, how, err)
			}
			if strings.Contains(text, canary) || strings.Contains(text, number[:8]) || !strings.Contains(text, test.left) {
				t.Errorf("%s %s: %q, want %q in it and nothing that was read", name, how, text, test.left)
			}
		}
		long := strings.ReplaceAll(test.err.Error(), canary, strings.Repeat(canary, 1000))
		if text := Text(long); strings.Contains(text, canary) {
			t.Errorf("%s with a long value: %q", name, text)
		}
	}
}

func third[T any](_ T, _ bool, err error) error { return err }

// Texts that quote no values are not changed.
func TestTextLeavesTheRest(t *testing.T) {
	for _, text := range []string{
		"", "context deadline exceeded", `pods is forbidden: User "me" cannot list resource "pods" in API group "" at the cluster scope`,
		`Get "https://host:6443/api/v1/pods?limit=500": dial tcp 10.0.0.1:6443: connect: connection refused`,
		`no kind "Widget" is registered for version "example.com/v1" in scheme "x"`, "Grüße, 世界", `a "quoted" \ text`,
		resource.ErrFormatWrong.Error(),
	} {
		if got := Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		err := errors.New(text)
		if Error(err) != err { //nolint:errorlint // it must be the same
			t.Errorf("%q was wrapped", text)
		}
	}
	if Error(nil) != nil {
		t.Error("there is an error")
	}
	err := Error(fmt.Errorf("a\x00b: %w", io.EOF))
	if err.Error() != `a\x00b: EOF` || !errors.Is(err, io.EOF) {
		t.Errorf("got %q", err)
	}
}

// A text is at most as long as a line, also within other texts.
func TestTextShortens(t *testing.T) {
	for name, text := range map[string]string{
		"words": strings.Repeat("word ", 200_000), "one word": strings.Repeat("x", 1<<20), "runes": strings.Repeat("世 界", 200_000),
		"control": strings.Repeat("\x00\n ", 1<<20), "not UTF-8": strings.Repeat("\xff\xfe ", 1<<20), "just too long": strings.Repeat("世", 401),
	} {
		short := Text(text)
		if len(short) > most+spare || !utf8.ValidString(short) || strings.ContainsAny(short, "\x00\n") {
			t.Errorf("%s: %d bytes: %q", name, len(short), short)
		}
		if want := fmt.Sprintf("… (%d bytes)", len(text)); !strings.HasSuffix(short, want) {
			t.Errorf("%s: %q lacks %q", name, short, want)
		}
		if again := Text("list pods of the team: " + short); again != "list pods of the team: "+short {
			t.Errorf("%s: it was cut again: %q", name, again)
		}
	}
}

func TestDecoding(t *testing.T) {
	odd := errors.New("the policy " + canary + " is not known")
	for _, err := range []error{odd, fmt.Errorf("json: %w", odd), fmt.Errorf("%s: json: cannot unmarshal string", canary)} {
		if got := Decoding(err); strings.Contains(got.Error(), canary) || errors.Is(got, odd) {
			t.Errorf("%v became %v", err, got)
		}
	}
	var into struct{ Name int }
	err := Decoding(utiljson.Unmarshal([]byte(`{"Name":"`+canary+`"}`), &into))
	if !strings.Contains(err.Error(), "cannot unmarshal string into Go struct field .Name of type int") {
		t.Error(err)
	}
}

func TestPanic(t *testing.T) {
	secret := &corev1.Secret{StringData: map[string]string{"a": canary}}
	for _, v := range []any{secret, *secret, secret.StringData, []string{canary}, &canaryText} {
		if got := Panic(v); strings.Contains(got, canary) || !strings.Contains(got, fmt.Sprintf("%T", v)) {
			t.Errorf("%T: %q", v, got)
		}
	}
	for want, v := range map[string]any{"odd": "odd", "EOF": io.EOF, "7": 7, "404": http.StatusNotFound, "<nil>": nil} {
		if got := Panic(v); got != want {
			t.Errorf("%T: %q, want %q", v, got, want)
		}
	}
}

var canaryText = canary

// No input makes a text longer than the limit, or adds unprintable characters.
func FuzzText(f *testing.F) {
	f.Add("Object 'Kind' is missing in '{}'")
	f.Add(`strconv.ParseInt: parsing "\"x": invalid syntax`)
	f.Add("https://a:b@c/\x1b[31m" + strings.Repeat("世", 2000))
	f.Fuzz(func(t *testing.T, s string) {
		text := Text(s)
		if len(text) > most+spare || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\n\r\x1b") {
			t.Errorf("%q became %q", s, text)
		}
		if secret := Text("Get https://user:" + url.PathEscape(s) + canary + "@host"); strings.Contains(secret, canary) {
			t.Errorf("%q", secret)
		}
	})
}
