// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"errors"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var small = Limits{Object: 200, Depth: 5}

// readers are ways in which a body may arrive.
var readers = map[string]func(io.Reader) io.Reader{
	"at once":    func(r io.Reader) io.Reader { return r },
	"by bytes":   iotest.OneByteReader,
	"by halves":  iotest.HalfReader,
	"data error": iotest.DataErrReader,
}

// readAll reads a list; the bytes of the objects are copied.
func readAll(body io.Reader, limits Limits) (list ListMeta, objects []Object, err error) {
	calls := 0
	list, err = ReadList(body, limits, func(ListMeta) error {
		if calls++; calls > 1 || len(objects) > 0 {
			panic("about was called late, or again")
		}
		return nil
	}, func(o *Object) error {
		copied := *o
		copied.Raw = slices.Clone(o.Raw)
		objects = append(objects, copied)
		return nil
	})
	if err == nil && calls != 1 {
		panic("about was not called")
	}
	return list, objects, err
}

func TestJSONListGood(t *testing.T) {
	one := func(raw string, o Object) []Object {
		o.Format, o.Raw = JSON, []byte(raw)
		return []Object{o}
	}
	for name, test := range map[string]struct {
		body    string
		list    ListMeta
		objects []Object
	}{
		"as a server has it": {
			`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"abc","remainingItemCount":12},"items":[{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"5"}}]}` + "\n",
			ListMeta{"v1", "PodList", "7", "abc", 12, false},
			one(`{"metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"5"}}`, Object{Name: "a", Namespace: "n", UID: "u", Version: "5"}),
		},
		"metadata last, spaces": {
			"\n{ \"apiVersion\" : \"a/v1\" ,\t\"items\":[ {\"apiVersion\":\"a/v1\",\"kind\":\"Foo\", \"x\": [1 , -2.5e+3,{}] }\r\n] , \"kind\":\"FooList\",\"metadata\":{\"resourceVersion\":\"9\"} } \n",
			ListMeta{"a/v1", "FooList", "9", "", -1, false},
			one(`{"apiVersion":"a/v1","kind":"Foo", "x": [1 , -2.5e+3,{}] }`, Object{APIVersion: "a/v1", Kind: "Foo"}),
		},
		"no items":       {`{"kind":"PodList"}`, ListMeta{Kind: "PodList", Remaining: -1, NoItems: true}, nil},
		"null items":     {`{"items":null,"kind":"PodList","metadata":null}`, ListMeta{Kind: "PodList", Remaining: -1}, nil},
		"empty items":    {`{"items":[],"kind":"Status"}`, ListMeta{Kind: "Status", Remaining: -1}, nil},
		"unknown, large": {`{"kind":"PodList","x":["` + strings.Repeat("ab\\\"", 1000) + `"],"y":-0.5E-7,"z":true}`, ListMeta{Kind: "PodList", Remaining: -1, NoItems: true}, nil},
		"escapes": {
			`{"\u006bind":"PodL\u0069st","items":[{"metad\u0061ta":{"name":"\ud83d\ude00\n\"","n\u0061mespace":"ü"}}]}`,
			ListMeta{Kind: "PodList", Remaining: -1},
			one(`{"metad\u0061ta":{"name":"\ud83d\ude00\n\"","n\u0061mespace":"ü"}}`, Object{Name: "😀\n\"", Namespace: "ü"}),
		},
		"the last one counts": {
			`{"kind":"X","kind":"PodList","metadata":{"continue":"1"},"metadata":{"resourceVersion":"1","resourceVersion":"2"},"items":[{"metadata":{"name":"a","name":"b"},"kind":"A","kind":null}]}`,
			ListMeta{Kind: "PodList", Version: "2", Remaining: -1},
			one(`{"metadata":{"name":"a","name":"b"},"kind":"A","kind":null}`, Object{Name: "b"}),
		},
		"case": {
			`{"kind":"PodList","Kind":"x","items":[{"Metadata":{"name":"a"},"metadata":{"Name":"a"}}]}`,
			ListMeta{Kind: "PodList", Remaining: -1},
			one(`{"Metadata":{"name":"a"},"metadata":{"Name":"a"}}`, Object{}),
		},
		"end of the first events": {
			`{"kind":"PodList","items":[{"metadata":{"annotations":{"a":"b","k8s.io/initial-events-end":"true"}}}]}`,
			ListMeta{Kind: "PodList", Remaining: -1},
			one(`{"metadata":{"annotations":{"a":"b","k8s.io/initial-events-end":"true"}}}`, Object{InitialEventsEnd: true}),
		},
		"no end of the first events": {
			`{"kind":"PodList","items":[{"metadata":{"annotations":{"k8s.io/initial-events-end":"true","k8s.io/initial-events-end":"false"}}}]}`,
			ListMeta{Kind: "PodList", Remaining: -1},
			one(`{"metadata":{"annotations":{"k8s.io/initial-events-end":"true","k8s.io/initial-events-end":"false"}}}`, Object{}),
		},
		"as deep as may be": {
			`{"kind":"PodList","x":[[[[[]]]]],"items":[{"x":[[[[]]]]}]}`,
			ListMeta{Kind: "PodList", Remaining: -1},
			one(`{"x":[[[[]]]]}`, Object{}),
		},
	} {
		for how, reader := range readers {
			t.Run(name+" "+how, func(t *testing.T) {
				list, objects, err := readAll(reader(strings.NewReader(test.body)), small)
				if err != nil {
					t.Fatal(err)
				}
				if list != test.list {
					t.Errorf("list is %+v, not %+v", list, test.list)
				}
				if !reflect.DeepEqual(objects, test.objects) {
					t.Errorf("objects are %+v, not %+v", objects, test.objects)
				}
			})
		}
	}
}

func TestJSONListBad(t *testing.T) {
	item := func(raw string) string { return `{"kind":"PodList","items":[` + raw + `]}` }
	const at = int64(len(`{"kind":"PodList","items":[`))
	for name, test := range map[string]struct {
		body   string
		offset int64
	}{
		"not an object":       {` []`, 1},
		"a status":            {`{"kind":"Status","code":410}`, 28},
		"no kind":             {`{}`, 2},
		"a null list of none": {`{"items":null}`, 14},
		"garbage behind":      {`{"kind":"PodList"} x`, 19},
		"another list":        {`{"kind":"PodList"}{"kind":"PodList"}`, 18},
		"string items":        {`{"kind":"PodList","items":"abc"}`, 26},
		"items twice":         {`{"kind":"PodList","items":[],"items":[]}`, 37},
		"comma at the end":    {item(`{},`), at + 3},
		"comma missing":       {item(`{} {}`), at + 3},
		"comma too many":      {`{"kind":"PodList",}`, 18},
		"no name":             {`{kind:"PodList"}`, 1},
		"no colon":            {`{"kind" "PodList"}`, 8},
		"brace for bracket":   {item(`{"a":[}`), at + 6},
		"bracket for brace":   {item(`{]`), at + 1},
		"bad escape":          {item(`{"a":"\x"}`), at + 7},
		"bad hex":             {item(`{"a":"\u12g4"}`), at + 10},
		"control":             {item("{\"a\":\"\n\"}"), at + 6},
		"leading zero":        {item(`{"a":01}`), at + 6},
		"plus":                {item(`{"a":+1}`), at + 5},
		"minus alone":         {item(`{"a":-}`), at + 6},
		"no fraction":         {item(`{"a":1.}`), at + 7},
		"no exponent":         {item(`{"a":1e}`), at + 7},
		"literal":             {item(`{"a":nul}`), at + 8},
		"other literal":       {item(`{"a":True}`), at + 5},
		"other space":         {item("{\"a\":\v1}"), at + 5},
		"too deep, unknown":   {`{"kind":"PodList","a":[[[[[[]]]]]]}`, 27},
		"too large a name":    {`{"` + strings.Repeat("x", 300) + `":1}`, 201},
		"kind of a number":    {`{"kind":1}`, 8},
		"metadata of a text":  {`{"kind":"PodList","metadata":"x"}`, 29},
		"count of a text":     {`{"kind":"PodList","metadata":{"remainingItemCount":"1"}}`, 51},
	} {
		for how, reader := range readers {
			t.Run(name+" "+how, func(t *testing.T) {
				_, _, err := readAll(reader(strings.NewReader(test.body)), small)
				var bad *Error
				if !errors.As(err, &bad) {
					t.Fatalf("error is %v", err)
				}
				if bad.Offset != test.offset {
					t.Errorf("error is %v, not one at %d", err, test.offset)
				}
			})
		}
	}
}

// An object that cannot be decoded is yielded with why, and with what identifies it as far
// as that can be read. Those behind it are read as well.
func TestJSONBadItem(t *testing.T) {
	const known = `"name":"a","namespace":"b","uid":"u","resourceVersion":"7"`
	all := Object{Namespace: "b", Name: "a", UID: "u", Version: "7"}
	large := strings.Repeat("x", 300)
	for name, test := range map[string]struct {
		raw    string
		offset int64
		want   Object
	}{
		"null":                   {`null`, 0, Object{}},
		"number":                 {`1`, 0, Object{}},
		"array":                  {`[{}]`, 0, Object{}},
		"too deep":               {`{"a":[[[[[]]]]],"metadata":{` + known + `}}`, 0, all},
		"too deep metadata":      {`{"metadata":{"a":[[[[[]]]]],` + known + `}}`, 0, all},
		"too large":              {`{"a":"` + large + `","metadata":{` + known + `}}`, 0, all},
		"metadata too large":     {`{"metadata":{"a":"` + large + `",` + known + `}}`, 0, all},
		"name of a number":       {`{"metadata":{"namespace":"b","uid":"u","name":1}}`, 46, Object{Namespace: "b", UID: "u"}},
		"namespace of an object": {`{"metadata":{"name":"a","namespace":{}}}`, 36, Object{}},
		"metadata of a list":     {`{"metadata":[]}`, 12, Object{}},
		"metadata twice":         {`{"metadata":{` + known + `},"metadata":1}`, 84, Object{}},
		"version of a number":    {`{"metadata":{"resourceVersion":7,"name":"a","namespace":null,"uid":"\u0075"}}`, 31, Object{Name: "a", UID: "u"}},
		"uid of an array":        {`{"metadata":{"uid":[],"resourceVersion":"7","name":"a"}}`, 19, Object{Name: "a", Version: "7"}},
		"annotations of one":     {`{"metadata":{"annotations":1,` + known + `}}`, 27, all},
		"kind of one":            {`{"apiVersion":"v1","kind":1,"metadata":{` + known + `}}`, 26, Object{APIVersion: "v1", Namespace: "b", Name: "a", UID: "u", Version: "7"}},
	} {
		const before, after = `{"kind":"PodList","items":[`, `,{"metadata":{"name":"next"}}]}`
		const event, last = `{"type":"ADDED","object":`, `}`
		for how, reader := range readers {
			var objects []Object
			_, err := ReadList(reader(strings.NewReader(before+test.raw+after)), small, nil, func(o *Object) error {
				objects = append(objects, *o)
				return nil
			})
			if err != nil || len(objects) != 2 || objects[1].Name != "next" || objects[1].Err != nil {
				t.Fatalf("%s, %s: %+v, %v", name, how, objects, err)
			}
			isBad(t, name+", "+how, objects[0], test.want, int64(len(before))+test.offset)
			if test.raw[0] != '{' {
				continue
			}
			w := NewWatch(reader(strings.NewReader(event+test.raw+last+first)), small)
			e, err := w.Next()
			if err != nil || e.Type != "ADDED" {
				t.Fatalf("%s, %s: %+v, %v", name, how, e, err)
			}
			isBad(t, name+" of a watch, "+how, e.Object, test.want, int64(len(event))+test.offset)
			if _, err := w.Next(); err != nil {
				t.Error(err)
			}
		}
	}
}

func isBad(t *testing.T, what string, o, want Object, offset int64) {
	t.Helper()
	var bad *Error
	if !errors.As(o.Err, &bad) || bad.Offset != offset {
		t.Errorf("%s: error is %v, not one at %d", what, o.Err, offset)
	}
	if want.Format = JSON; !equalObjects(o, want) {
		t.Errorf("%s: it is %+v, not %+v", what, o, want)
	}
}

func TestJSONListCutOff(t *testing.T) {
	const body = `{"kind":"PodList","x":[1,{"y":null}],"apiVersion":"v1","metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"\u0061\n"}},{"a":-1.5e3}]}`
	for how, reader := range readers {
		for n := range len(body) {
			_, _, err := readAll(reader(strings.NewReader(body[:n])), small)
			var bad *Error
			if !errors.As(err, &bad) || !errors.Is(err, io.ErrUnexpectedEOF) || bad.Offset > int64(n) {
				t.Errorf("%s, cut off at %d: %v", how, n, err)
			}
		}
		broken := errors.New("broken")
		for n := range len(body) + 1 {
			_, _, err := readAll(io.MultiReader(reader(strings.NewReader(body[:n])), iotest.ErrReader(broken)), small)
			if !errors.Is(err, broken) {
				t.Errorf("%s, broken at %d: %v", how, n, err)
			}
		}
	}
}

// The errors of the callbacks are returned as they are, whatever they are.
func TestJSONListEndedByCaller(t *testing.T) {
	const body = `{"kind":"PodList","items":[{},{}]}`
	nothing := func(*Object) error { return nil }
	if _, err := ReadList(strings.NewReader(body), small, nil, func(*Object) error { return io.EOF }); err != io.EOF {
		t.Error(err)
	}
	if _, err := ReadList(strings.NewReader(body), small, func(ListMeta) error { return io.EOF }, nothing); err != io.EOF {
		t.Error(err)
	}
	if _, err := ReadList(strings.NewReader(`{"kind":"PodList"}`), small, func(ListMeta) error { return io.EOF }, nothing); err != io.EOF {
		t.Error(err)
	}
}

// About gets the fields before the items.
func TestJSONListAbout(t *testing.T) {
	const body = `{"kind":"PodList","items":[{}],"metadata":{"resourceVersion":"7"}}`
	var got ListMeta
	list, err := ReadList(strings.NewReader(body), small, func(l ListMeta) error { got = l; return nil }, func(*Object) error { return nil })
	if want := (ListMeta{Kind: "PodList", Remaining: -1}); err != nil || got != want || list.Version != "7" {
		t.Error(got, list, err)
	}
}

// Objects larger than the buffer, and pods at every offset of it.
func TestJSONListLarge(t *testing.T) {
	list := pods(200)
	list.Items[3].Annotations["large"] = strings.Repeat("\U0001F41D\n", 30000)
	body := toJSON(t, list)
	for how, reader := range readers {
		meta, objects, err := readAll(reader(strings.NewReader(string(body))), DefaultLimits)
		if err != nil || len(objects) != len(list.Items) || meta.Version != "4711" {
			t.Fatal(how, len(objects), meta, err)
		}
		for i, o := range objects {
			pod := &list.Items[i]
			if string(o.Raw) != string(toJSON(t, pod)) || o.Name != pod.Name || o.Namespace != pod.Namespace || o.UID != string(pod.UID) || o.Version != pod.ResourceVersion {
				t.Fatalf("%s: item %d is %s", how, i, o.Raw)
			}
		}
	}
}

// What a body may allocate is bounded by what of it arrives, and by the limit, or by 16 MiB.
func TestJSONListMemory(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"item":    io.MultiReader(strings.NewReader(`{"items":[{"a":"`), endless("a")), // 82 MB in all, 21 MB of it at a time
		"unknown": io.MultiReader(strings.NewReader(`{"a":"`), io.LimitReader(endless("a"), 64<<20)),
		"deep":    io.MultiReader(strings.NewReader(`{"items":[`), endless(`{"a":`)),
		"space":   io.LimitReader(endless(" "), 64<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := readAll(body, Limits{Object: 1 << 20, Depth: 500})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 100<<20 {
			t.Errorf("%s: %d bytes, %v", name, used, err)
		}
	}
}

// endless is a text again and again.
type endless string

func (e endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}
