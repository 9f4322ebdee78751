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
	told := 0
	list, err = ReadList(body, limits, func(ListMeta) error {
		if told++; told > 1 || len(objects) > 0 {
			panic("about was called late, or again")
		}
		return nil
	}, func(o *Object) error {
		copied := *o
		copied.Raw = slices.Clone(o.Raw)
		objects = append(objects, copied)
		return nil
	})
	if err == nil && told != 1 {
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
		"null item":           {item(`null`), at},
		"number item":         {item(`{},1`), at + 3},
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
		"too deep":            {item(`{"a":[[[[[]]]]]}`), at + 9},
		"too deep, unknown":   {`{"kind":"PodList","a":[[[[[[]]]]]]}`, 27},
		"too large":           {item(`{"a":"` + strings.Repeat("x", 300) + `"}`), at + 200},
		"too large a name":    {`{"` + strings.Repeat("x", 300) + `":1}`, 201},
		"kind of a number":    {`{"kind":1}`, 8},
		"metadata of a text":  {`{"kind":"PodList","metadata":"x"}`, 29},
		"count of a text":     {`{"kind":"PodList","metadata":{"remainingItemCount":"1"}}`, 51},
		"name of a number":    {item(`{"metadata":{"name":1}}`), at + 20},
		"metadata of a list":  {item(`{"metadata":[]}`), at + 12},
		"annotations of one":  {item(`{"metadata":{"annotations":1}}`), at + 27},
	} {
		for how, reader := range readers {
			t.Run(name+" "+how, func(t *testing.T) {
				_, _, err := readAll(reader(strings.NewReader(test.body)), small)
				var bad *Error
				if !errors.As(err, &bad) {
					t.Fatalf("error is %v", err)
				}
				// A limit is noticed once what breaks it has arrived.
				if bad.Offset != test.offset {
					t.Errorf("error is %v, not one at %d", err, test.offset)
				}
			})
		}
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

// About is told what comes before the items.
func TestJSONListAbout(t *testing.T) {
	const body = `{"kind":"PodList","items":[{}],"metadata":{"resourceVersion":"7"}}`
	var told ListMeta
	list, err := ReadList(strings.NewReader(body), small, func(l ListMeta) error { told = l; return nil }, func(*Object) error { return nil })
	if want := (ListMeta{Kind: "PodList", Remaining: -1}); err != nil || told != want || list.Version != "7" {
		t.Error(told, list, err)
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

// What a body may allocate is bounded by what of it arrives, and by the limit.
func TestJSONListMemory(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"item":    io.MultiReader(strings.NewReader(`{"items":[{"a":"`), endless("a")),
		"unknown": io.MultiReader(strings.NewReader(`{"a":"`), io.LimitReader(endless("a"), 64<<20)),
		"deep":    io.MultiReader(strings.NewReader(`{"items":[`), endless(`{"a":`)),
		"space":   io.LimitReader(endless(" "), 64<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := readAll(body, Limits{Object: 1 << 20, Depth: 500})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 8<<20 {
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
