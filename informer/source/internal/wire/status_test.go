// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"io"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// A Status is returned as it was sent, in any order of its members, as far as a Status has them.
func TestStatusInsteadOfList(t *testing.T) {
	const body = `{"code":410,"details":{"causes":[{"reason":"x"}],"retryAfterSeconds":3},"kind":"Status","other":["a"],` +
		`"message":"it \"is\" gone","metadata":{"continue":"t"},"reason":"Expired","status":"Failure","apiVersion":"v1"}`
	for how, reader := range readers {
		_, objects, err := readAll(reader(strings.NewReader(body)), small)
		var instead *StatusError
		if !errors.As(err, &instead) || len(objects) > 0 {
			t.Fatalf("%s: %v, %v", how, objects, err)
		}
		var got metav1.Status
		if err := utiljson.Unmarshal(instead.Object.Raw, &got); err != nil {
			t.Fatalf("%s: %v in %s", how, err, instead.Object.Raw)
		}
		if got.Code != 410 || got.Reason != metav1.StatusReasonExpired || got.Status != metav1.StatusFailure ||
			got.Message != `it "is" gone` || got.Details.RetryAfterSeconds != 3 || got.Details.Causes[0].Type != "x" {
			t.Errorf("%s: got %+v", how, got)
		}
		for n := range len(body) {
			if _, _, err := readAll(reader(strings.NewReader(body[:n])), small); !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &instead) {
				t.Fatalf("%s, cut off at %d: %v", how, n, err)
			}
		}
	}
}

// statusInProtobuf is a Status, which is said to be of a kind, in its envelope and without it.
func statusInProtobuf(t *testing.T, kind string) (body, raw []byte) {
	t.Helper()
	raw = oddMarshal(t, &metav1.Status{Status: metav1.StatusFailure, Message: "it is gone", Code: 410})
	envelope := oddMarshal(t, &runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw})
	return append([]byte(protobufMagic), envelope...), raw
}

func TestStatusInsteadOfListInProtobuf(t *testing.T) {
	body, raw := statusInProtobuf(t, "Status")
	var instead *StatusError
	_, _, err := readAll(strings.NewReader(string(body)), small)
	if !errors.As(err, &instead) || string(instead.Object.Raw) != string(raw) || instead.Object.Format != Protobuf {
		t.Errorf("got %v", err)
	}
	for n := range len(body) - 4 { // behind the raw bytes are two empty fields
		if _, _, err := readAll(strings.NewReader(string(body[:n])), small); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
	if _, _, err := readAll(strings.NewReader(string(body)), Limits{Object: len(raw) - 1, Depth: 5}); err == nil || errors.As(err, &instead) {
		t.Errorf("too large: %v", err)
	}
}

// What may be a Status has the room of an object; behind items there is none.
func TestStatusIsBounded(t *testing.T) {
	member := `"message":"` + strings.Repeat("x", 60) + `",`
	for name, test := range map[string]struct {
		body string
		bad  bool
	}{
		"two members":     {`{` + strings.Repeat(member, 2) + `"kind":"PodList"}`, false},
		"three members":   {`{` + strings.Repeat(member, 3) + `"kind":"PodList"}`, true},
		"a large one":     {`{"details":"` + strings.Repeat("x", 300) + `","kind":"Status"}`, true},
		"behind items":    {`{"items":[],` + strings.Repeat(member, 10) + `"kind":"PodList"}`, false},
		"of another name": {`{` + strings.Repeat(strings.ToUpper(member), 10) + `"kind":"PodList"}`, false},
	} {
		_, _, err := readAll(strings.NewReader(test.body), small)
		if (err != nil) != test.bad {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A member for which there is no room left at all is an error as well.
func TestStatusFillsItsRoom(t *testing.T) {
	for n := small.Object - 15; n <= small.Object; n++ {
		body := `{"message":"` + strings.Repeat("x", n) + `","reason":"x","kind":"Status"}`
		_, _, err := readAll(strings.NewReader(body), small)
		if err == nil || !strings.Contains(err.Error(), "the limit") {
			t.Errorf("%d bytes of %d: %v", n, small.Object, err)
		}
	}
}

// A Status instead of events, or after some.
func TestStatusInsteadOfEvent(t *testing.T) {
	const status = ` {"kind":"Status","metadata":{},"status":"Failure","code":410}`
	w := NewWatch(strings.NewReader(`{"type":"ADDED","object":{"kind":"Pod"}}`+status), small)
	if e, err := w.Next(); err != nil || e.Type != "ADDED" {
		t.Fatal(e, err)
	}
	var instead *StatusError
	if _, err := w.Next(); !errors.As(err, &instead) || string(instead.Object.Raw) != status[1:] || instead.Object.Format != JSON {
		t.Error(err)
	}
	for _, other := range []string{`{"kind":"Pod"}`, `{"object":{"kind":"Status"}}`, `{}`} {
		if _, err := NewWatch(strings.NewReader(other), small).Next(); err == nil || errors.As(err, &instead) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestStatusInsteadOfEventInProtobuf(t *testing.T) {
	body, raw := statusInProtobuf(t, "Status")
	next := func(body []byte, limits Limits) error {
		e, err := NewWatch(strings.NewReader(string(body)), limits).Next()
		if err == nil {
			t.Fatalf("an event: %+v", e)
		}
		return err
	}
	var instead *StatusError
	if err := next(body, small); !errors.As(err, &instead) || string(instead.Object.Raw) != string(raw) || instead.Object.Format != Protobuf || instead.Object.Kind != "Status" {
		t.Errorf("got %v", err)
	}
	for n := 1; n < len(body)-4; n++ { // behind the raw bytes are two empty fields
		if err := next(body[:n], small); !errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &instead) {
			t.Errorf("cut off at %d: %v", n, err)
		}
	}
	other, _ := statusInProtobuf(t, "PodList")
	unnamed, _ := statusInProtobuf(t, "")
	for name, test := range map[string]struct {
		body   []byte
		limits Limits
		want   string
	}{
		"another kind": {other, small, `a v1 "PodList"`},
		"no kind":      {unnamed, small, `a v1 ""`},
		"no envelope":  {append([]byte(protobufMagic), 0xff, 0xff), small, "EOF"},
		"too large":    {body, Limits{Object: len(raw) - 1, Depth: 5}, "more than the limit"},
		"it lies":      {append([]byte(protobufMagic), lying(1, 1<<40, nil)...), DefaultLimits, "more than the limit"},
	} {
		if err := next(test.body, test.limits); errors.As(err, &instead) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Behind an event as well.
	e := frame(t, "ADDED", makePod(0))
	w := NewWatch(strings.NewReader(string(e)+string(body)), DefaultLimits)
	if _, err := w.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(); !errors.As(err, &instead) {
		t.Error(err)
	}
}
