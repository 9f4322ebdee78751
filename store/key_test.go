// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

func TestParseKey(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want store.Key
		bad  bool
	}{
		{in: "a", want: store.Key{Name: "a"}},
		{in: "ns/a", want: store.Key{Namespace: "ns", Name: "a"}},
		{in: "system:node", want: store.Key{Name: "system:node"}},
		{in: "", bad: true},
		{in: "/", bad: true},
		{in: "/a", bad: true},
		{in: "ns/", bad: true},
		{in: "ns/a/b", bad: true},
		{in: "ns//b", bad: true},
	} {
		got, err := store.ParseKey(tt.in)
		if got != tt.want || (err != nil) != tt.bad {
			t.Errorf("ParseKey(%q) = %v, %v", tt.in, got, err)
		}
	}
}

func TestKeyIsThatOfClientGo(t *testing.T) {
	for _, m := range []metav1.ObjectMeta{{Name: "a"}, {Name: "a", Namespace: "ns"}} {
		pod := &corev1.Pod{ObjectMeta: m}
		want, err := cache.MetaNamespaceKeyFunc(pod)
		if got := store.KeyOf(pod).String(); err != nil || got != want {
			t.Errorf("got %q, client-go says %q, %v", got, want, err)
		}
	}
}

// A consumer of any Resource[T] takes the key without a constraint of its own.
func TestKeyOfEveryObject(t *testing.T) {
	want := store.Key{Namespace: "ns", Name: "a"}
	m := metav1.ObjectMeta{Namespace: "ns", Name: "a"}
	for _, obj := range []runtime.Object{&corev1.Pod{ObjectMeta: m}, &metav1.PartialObjectMetadata{ObjectMeta: m}} {
		if got := keyOfAny(obj); got != want {
			t.Errorf("%T: got %v, want %v", obj, got, want)
		}
	}
	if got := keyOfAny(&corev1.PodList{}); got != (store.Key{}) {
		t.Errorf("a list has the key %v", got)
	}
}

func keyOfAny[T runtime.Object](obj T) store.Key { return store.KeyOf(obj) }

func TestKeyCompare(t *testing.T) {
	sorted := []store.Key{{Name: "a"}, {Name: "z"}, {Namespace: "m", Name: "b"}, {Namespace: "m", Name: "c"}, {Namespace: "n", Name: "a"}}
	for i, a := range sorted {
		for j, b := range sorted {
			got := a.Compare(b)
			if i < j && got >= 0 || i == j && got != 0 || i > j && got <= 0 {
				t.Errorf("%v.Compare(%v) = %d", a, b, got)
			}
		}
	}
}

func TestMeta(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "ns", UID: "u", ResourceVersion: "7"}}
	m := store.MetaOf(pod)
	if want := at("a", "u", "7"); m != want {
		t.Errorf("got %v, want %v", m, want)
	}
	if m.String() != "ns/a@7" {
		t.Errorf("got %q", m)
	}
}

func TestSameObject(t *testing.T) {
	for _, tt := range []struct {
		a, b store.Meta
		want bool
	}{
		{at("a", "u", "1"), at("a", "u", "2"), true},
		{at("a", "u", "1"), at("a", "v", "1"), false},
		{at("a", "", "1"), at("a", "v", "2"), true},
		{at("a", "", "1"), at("a", "", "2"), true},
		{at("a", "u", "1"), at("b", "u", "1"), false},
		{at("a", "", "1"), at("b", "", "1"), false},
	} {
		if got := tt.a.SameObject(tt.b); got != tt.want {
			t.Errorf("%v#%s and %v#%s: %t", tt.a, tt.a.UID, tt.b, tt.b.UID, got)
		}
		if got := tt.b.SameObject(tt.a); got != tt.want {
			t.Errorf("%v#%s and %v#%s, swapped: %t", tt.a, tt.a.UID, tt.b, tt.b.UID, got)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "a", "ns/a", "/", "ns/", "/a", "a/b/c", "é/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := store.ParseKey(s)
		if err != nil {
			if key != (store.Key{}) {
				t.Errorf("%q: an error, and key %v", s, key)
			}
			return
		}
		if key.Name == "" {
			t.Errorf("%q: no name", s)
		}
		if got := key.String(); got != s {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

func FuzzKeyString(f *testing.F) {
	f.Add("ns", "a")
	f.Add("", "a")
	f.Add("a/b", "c")
	f.Fuzz(func(t *testing.T, namespace, name string) {
		key := store.Key{Namespace: namespace, Name: name}
		if got, err := store.ParseKey(key.String()); err == nil && got != key && namespace != "" {
			t.Errorf("%#v came back as %#v", key, got)
		}
	})
}
