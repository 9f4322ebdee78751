// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// fuzzed are bodies to begin with.
func fuzzed(f *testing.F, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Add([]byte(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","remainingItemCount":3},"items":[` + string(toJSON(f, pod(1))) + `]}`))
	f.Add([]byte(`{"items":[{"a":[1,-2.5e+3,true,null,"\ud83d\ude00\n\u0000"]},{}],"kind":"\u0041List","x":{"a":{"b":[[]]}}}`))
	f.Add([]byte("{\"kind\":\"AList\",\"kind\":\"List\",\"metadata\":{\"continue\":\"\xff\"},\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"a\",\"name\":null}}]}"))
	f.Add([]byte(`{"kind":"List","metadata":{"a":2.5e+3333},"items":[{"kind":"A","metadata":{"name":"a","b":-2.5e+3333},"c":[2.5e+3333]}],"d":2.5e+3333}`))
	f.Add([]byte(`{"type":"ADDED","object":{"kind":"A","metadata":{"a":2.5e+3333},"b":2.5e+3333},"c":2.5e+3333}`))
	f.Add([]byte(events))
}

// membersOf decodes an object with encoding/json. Numbers stay text: a number that
// float64 does not hold is no error in a member that wire does not read.
func membersOf(t *testing.T, raw []byte) (m map[string]any) {
	t.Helper()
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil || !json.Valid(raw) {
		t.Fatalf("the oracle rejects %q: %v", raw, err)
	}
	return m
}

// text is what m has of a name, as unstructured.NestedString does it.
func text(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

// sameObject compares what is known of an object with what the oracle reads.
func sameObject(t *testing.T, o *Object) {
	t.Helper()
	m := membersOf(t, o.Raw)
	meta, _ := m["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	want := Object{
		Format: JSON, Raw: o.Raw, APIVersion: text(m, "apiVersion"), Kind: text(m, "kind"),
		Namespace: text(meta, "namespace"), Name: text(meta, "name"), UID: text(meta, "uid"), Version: text(meta, "resourceVersion"),
		InitialEventsEnd: text(annotations, metav1.InitialEventsAnnotationKey) == "true",
	}
	if !equalObjects(*o, want) {
		t.Fatalf("it is %+v, not %+v", *o, want)
	}
}

func equalObjects(a, b Object) bool {
	return a.Format == b.Format && a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Namespace == b.Namespace &&
		a.Name == b.Name && a.UID == b.UID && a.Version == b.Version && a.InitialEventsEnd == b.InitialEventsEnd
}

// What is accepted is what the oracle accepts, with the same items; and it is the same
// however the body arrives.
func FuzzJSONList(f *testing.F) {
	fuzzed(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if first := bytes.TrimLeft(body, " \n\t\r"); len(first) == 0 || first[0] != '{' {
			return
		}
		list, objects, err := readAll(bytes.NewReader(body), DefaultLimits)
		list2, objects2, err2 := readAll(iotest.OneByteReader(bytes.NewReader(body)), DefaultLimits)
		if list != list2 || len(objects) != len(objects2) || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Fatalf("at once %+v, %v; by bytes %+v, %v", list, err, list2, err2)
		}
		for i := range objects {
			if !equalObjects(objects[i], objects2[i]) || !bytes.Equal(objects[i].Raw, objects2[i].Raw) {
				t.Fatalf("at once %+v, by bytes %+v", objects[i], objects2[i])
			}
			if objects[i].Err == nil {
				sameObject(t, &objects[i])
			}
		}
		if err != nil {
			return
		}
		var members map[string]json.RawMessage
		if err := utiljson.Unmarshal(body, &members); err != nil {
			t.Fatal("accepted, but the oracle says", err)
		}
		var want struct {
			APIVersion string            `json:"apiVersion"`
			Kind       string            `json:"kind"`
			Metadata   json.RawMessage   `json:"metadata"`
			Items      []json.RawMessage `json:"items"`
		}
		if err := utiljson.Unmarshal(toJSON(t, members), &want); err != nil {
			t.Fatal("accepted, but the oracle says", err)
		}
		meta := membersOf(t, want.Metadata)
		if list.APIVersion != want.APIVersion || list.Kind != want.Kind || list.Version != text(meta, "resourceVersion") ||
			list.Continue != text(meta, "continue") || len(objects) != len(want.Items) {
			t.Fatalf("%+v with %d items, not %+v", list, len(objects), want)
		}
		if _, ok := members["items"]; ok == list.NoItems {
			t.Fatalf("%+v of members %v", list, members)
		}
		remaining := int64(-1)
		if n, ok := meta["remainingItemCount"].(json.Number); ok {
			if i, err := n.Int64(); err == nil {
				remaining = i
			}
		}
		if list.Remaining != remaining {
			t.Fatalf("%+v, not %d of %+v", list, remaining, want)
		}
		for i, o := range objects {
			if got, want := toJSON(t, json.RawMessage(o.Raw)), []byte(want.Items[i]); !bytes.Equal(got, want) {
				t.Fatalf("item %d is %q, not %q", i, got, want)
			}
		}
	})
}

// Events are what a decoder of encoding/json reads one after the other.
func FuzzJSONWatch(f *testing.F) {
	fuzzed(f, events, `{"type":"ADDED","object":{"kind":"Pod"}}{"type":"ADDED","object":{}`)
	f.Fuzz(func(t *testing.T, body []byte) {
		if first := bytes.TrimLeft(body, " \n\t\r"); len(first) == 0 || first[0] != '{' {
			return
		}
		w, slow := NewWatch(bytes.NewReader(body), DefaultLimits), NewWatch(iotest.OneByteReader(bytes.NewReader(body)), DefaultLimits)
		oracle := json.NewDecoder(bytes.NewReader(body))
		for {
			e, err := w.Next()
			e2, err2 := slow.Next()
			if (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
				t.Fatalf("at once %v, by bytes %v", err, err2)
			}
			var raw json.RawMessage
			oracleErr := oracle.Decode(&raw)
			if err == io.EOF && oracleErr != io.EOF || err == nil && oracleErr != nil {
				t.Fatalf("%v, but the oracle says %v", err, oracleErr)
			}
			if err != nil {
				return
			}
			var members map[string]json.RawMessage
			var kind string
			if err := utiljson.Unmarshal(raw, &members); err != nil {
				t.Fatal(err)
			}
			if err := utiljson.Unmarshal(members["type"], &kind); err != nil {
				t.Fatal(err)
			}
			if e.Type != kind || e2.Type != kind || !bytes.Equal(e.Object.Raw, members["object"]) || !bytes.Equal(e2.Object.Raw, e.Object.Raw) {
				t.Fatalf("%+v and %+v, not %q of %q", e, e2, kind, members["object"])
			}
			sameObject(t, &e.Object)
			if !equalObjects(e.Object, e2.Object) {
				t.Fatalf("at once %+v, by bytes %+v", e, e2)
			}
		}
	})
}

// Texts mean what they mean in encoding/json.
func FuzzJSONText(f *testing.F) {
	for _, seed := range []string{`a`, `\n\u00e4`, "\xff\xfe", `\ud83d\ude00`, `\ud83d`, `\ud83d\n`, `\ude00\ud83d\u0041`, "\u2028ü", `12345678\"`, "\x1f", strings.Repeat("x", 20) + "\x7f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, inner []byte) {
		quoted := append(append([]byte{'"'}, inner...), '"')
		var want string
		oracleErr := json.Unmarshal(quoted, &want)
		c := cursor{data: quoted}
		text, err := c.text()
		if err == nil && c.at < len(quoted) {
			err = io.ErrUnexpectedEOF
		}
		if (err == nil) != (oracleErr == nil) {
			t.Fatalf("%v, but the oracle says %v", err, oracleErr)
		}
		if err == nil && string(text) != want {
			t.Fatalf("%q, not %q", text, want)
		}
	})
}
