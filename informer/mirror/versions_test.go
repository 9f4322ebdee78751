// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// versionsModel is what a ResourceVersionStorage must be like, said as simply as
// possible.
type versionsModel struct {
	metas  map[store.Key]store.Meta
	marked map[store.Key]bool
	pass   uint64
}

func newVersionsModel() versionsModel {
	return versionsModel{metas: map[store.Key]store.Meta{}, marked: map[store.Key]bool{}}
}

func (m *versionsModel) set(meta store.Meta, pass uint64) {
	m.metas[meta.Key] = meta
	if pass != 0 && pass == m.pass {
		m.marked[meta.Key] = true
	}
}

func (m *versionsModel) delete(key store.Key) {
	delete(m.metas, key)
	delete(m.marked, key)
}

func (m *versionsModel) mark(meta store.Meta) (held bool) {
	recorded, ok := m.metas[meta.Key]
	if ok {
		m.marked[meta.Key] = true
	}
	return ok && meta.Version != "" && recorded == meta
}

func (m *versionsModel) unmarked() map[store.Key]store.Meta {
	unmarked := maps.Clone(m.metas)
	maps.DeleteFunc(unmarked, func(key store.Key, _ store.Meta) bool { return m.marked[key] })
	return unmarked
}

// oddVersions and oddUIDs are some that are numbers, and others that nearly are.
var (
	oddVersions = []string{
		"1", "2", "100", "9999999999999999999", "0", "", "00", "007", "-1", "+1", "1 ", "1e3", "v1",
		"18446744073709551615", "18446744073709551616", "99999999999999999999",
		"123456789012345678901234567890", "12345:", "12345/", "\xff", "١", strings.Repeat("7", 300),
	}
	oddUIDs = []types.UID{
		"", "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7",
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
		"FFFFFFFF-ffff-ffff-ffff-ffffffffffff", "0f8fad5b-d9cb-469f-a165-70867728950E",
		"0f8fad5b-d9cb-469f-a165-70867728950g", "0f8fad5bd9cb469fa16570867728950e",
		"0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b-d9cb-469f-a165-70867728950e0",
		"0f8fad5b-d9cb-469f-a165_70867728950e", "0f8fad5b-d9cb-469fa-165-70867728950e",
		"0f8fad5b-d9cb-469f-a165-7086772895-e", "u", "\x00", "é\xff", types.UID(strings.Repeat("u", 300)),
	}
)

// poolMeta returns the meta of object i of a pool of many.
func poolMeta(i int, uid types.UID, version string) store.Meta {
	key := store.Key{Namespace: "ns" + strconv.Itoa(i%37), Name: "name-" + strconv.Itoa(i/2)}
	return store.Meta{Key: key, UID: uid, Version: version}
}

// TestResourceVersionsModel compares the storage with the model. The buckets are
// small, so that there are many.
func TestResourceVersionsModel(t *testing.T) {
	anyKey := rapid.Custom(func(t *rapid.T) store.Key {
		if rapid.Bool().Draw(t, "of the pool") {
			return poolMeta(rapid.IntRange(0, 999).Draw(t, "i"), "", "").Key
		}
		return store.Key{
			Name:      rapid.SampledFrom([]string{"a", "b", "x", strings.Repeat("long", 70)}).Draw(t, "name"),
			Namespace: rapid.SampledFrom([]string{"", "x", "y", "a/b"}).Draw(t, "namespace"),
		}
	})
	anyMeta := rapid.Custom(func(t *rapid.T) store.Meta {
		return store.Meta{
			Key:     anyKey.Draw(t, "key"),
			UID:     rapid.SampledFrom(oddUIDs).Draw(t, "uid"),
			Version: rapid.SampledFrom(oddVersions).Draw(t, "version"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		m := newVersionsModel()
		s := mirror.NewSmallResourceVersions(rapid.SampledFrom([]int{4, 16, 64, 2048}).Draw(t, "full"))
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		anyPass := rapid.Custom(func(t *rapid.T) uint64 {
			return rapid.SampledFrom([]uint64{0, m.pass, m.pass, m.pass - 1, m.pass + 1}).Draw(t, "pass")
		})
		mark := func(t *rapid.T, meta store.Meta) {
			held, err := s.Mark(meta)
			must(err)
			if want := m.mark(meta); held != want {
				t.Fatalf("Mark(%#v) = %t", meta, held)
			}
		}
		set := func(t *rapid.T) {
			meta, pass := anyMeta.Draw(t, "meta"), anyPass.Draw(t, "pass")
			m.set(meta, pass)
			must(s.Set(meta, pass))
		}
		many := func(t *rapid.T) (from, to int) {
			from = rapid.IntRange(0, 999).Draw(t, "from")
			return from, min(from+rapid.IntRange(1, 300).Draw(t, "n"), 999)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				must(s.Check())
				wantVersions(t, s, m)
			},
			"set":  set,
			"set2": set,
			"set many": func(t *rapid.T) {
				from, to := many(t)
				pass, uid := anyPass.Draw(t, "pass"), rapid.SampledFrom(oddUIDs).Draw(t, "uid")
				for i := from; i < to; i++ {
					meta := poolMeta(i, uid, strconv.Itoa(i))
					m.set(meta, pass)
					must(s.Set(meta, pass))
				}
			},
			"get": func(t *rapid.T) {
				key := anyKey.Draw(t, "key")
				got, ok, err := s.Get(key)
				must(err)
				if want, wantOK := m.metas[key]; got != want || ok != wantOK {
					t.Fatalf("Get(%v) = %#v, %t, want %#v", key, got, ok, want)
				}
			},
			"delete": func(t *rapid.T) {
				key := anyKey.Draw(t, "key")
				m.delete(key)
				must(s.Delete(key))
			},
			"delete many": func(t *rapid.T) {
				for i, to := many(t); i < to; i++ {
					key := poolMeta(i, "", "").Key
					m.delete(key)
					must(s.Delete(key))
				}
			},
			"begin": func(t *rapid.T) {
				pass, err := s.Begin()
				must(err)
				if pass <= m.pass {
					t.Fatalf("pass %d after %d", pass, m.pass)
				}
				m.pass = pass
				clear(m.marked)
			},
			"mark": func(t *rapid.T) {
				meta := anyMeta.Draw(t, "meta")
				if held, ok := m.metas[meta.Key]; ok && rapid.Bool().Draw(t, "exactly") {
					meta = held
				}
				mark(t, meta)
			},
			"mark many": func(t *rapid.T) {
				for i, to := many(t); i < to; i++ {
					mark(t, poolMeta(i, oddUIDs[i%2], strconv.Itoa(i)))
				}
			},
			"replace": func(t *rapid.T) {
				metas := rapid.SliceOfN(anyMeta, 0, 100).Draw(t, "metas")
				pass := m.pass
				m = newVersionsModel()
				m.pass = pass
				for _, meta := range metas {
					m.set(meta, 0)
				}
				must(s.Replace(slices.Values(metas)))
			},
		})
	})
}

// wantVersions compares what does not change the storage.
func wantVersions(t *rapid.T, s *mirror.ResourceVersions, m versionsModel) {
	if s.Len() != len(m.metas) {
		t.Fatalf("%d records, want %d", s.Len(), len(m.metas))
	}
	collected := map[store.Key]store.Meta{}
	take := func(meta store.Meta, err error) {
		if _, twice := collected[meta.Key]; twice || err != nil {
			t.Fatalf("%#v came twice, or with the error %v", meta, err)
		}
		collected[meta.Key] = meta
	}
	for meta, err := range s.All() {
		take(meta, err)
	}
	if !maps.Equal(collected, m.metas) {
		t.Fatalf("All: %v, want %v", collected, m.metas)
	}
	clear(collected)
	for meta, err := range s.Unmarked() {
		take(meta, err)
	}
	if want := m.unmarked(); !maps.Equal(collected, want) {
		t.Fatalf("Unmarked: %v, want %v", collected, want)
	}
	for key := range m.metas {
		if marked, err := s.Marked(key); marked == (collected[key] != store.Meta{}) || err != nil {
			t.Fatalf("Marked(%v): %t, %v", key, marked, err)
		}
	}
	if marked, err := s.Marked(store.Key{Name: "none"}); marked || err != nil {
		t.Fatalf("Marked of nothing: %t, %v", marked, err)
	}
	keys := slices.SortedFunc(s.Keys(), store.Key.Compare)
	if want := slices.SortedFunc(maps.Keys(m.metas), store.Key.Compare); !slices.Equal(keys, want) {
		t.Fatalf("Keys: %v, want %v", keys, want)
	}
}

// TestResourceVersionsRoundTrip changes each odd version and UID into each other.
func TestResourceVersionsRoundTrip(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	var states []store.Meta
	for _, version := range oddVersions {
		states = append(states, store.Meta{Key: store.Key{Name: "a"}, UID: oddUIDs[1], Version: version})
	}
	for _, uid := range oddUIDs {
		states = append(states, store.Meta{Key: store.Key{Name: "a"}, UID: uid, Version: "1"})
	}
	for _, from := range states {
		for _, to := range states {
			checkRoundTrip(t, s, from, to)
		}
	}
}

// checkRoundTrip records one state of an object and then another.
func checkRoundTrip(t *testing.T, s *mirror.ResourceVersions, from, to store.Meta) {
	t.Helper()
	for _, meta := range []store.Meta{from, to} {
		if err := s.Set(meta, 0); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.Get(meta.Key); got != meta || !ok || err != nil {
			t.Fatalf("got %#v, %t, %v, want %#v", got, ok, err, meta)
		}
		if held, err := s.Mark(meta); held != (meta.Version != "") || err != nil {
			t.Errorf("Mark(%#v) = %t, %v", meta, held, err)
		}
		for got, err := range s.All() {
			if got.Key == meta.Key && (got != meta || err != nil) {
				t.Errorf("All has %#v, %v, want %#v", got, err, meta)
			}
		}
	}
	if held, err := s.Mark(from); held != (from == to && to.Version != "") || err != nil {
		t.Errorf("Mark(%#v) = %t, %v while %#v is recorded", from, held, err, to)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
}

// FuzzResourceVersions: what is recorded comes out as it went in.
func FuzzResourceVersions(f *testing.F) {
	f.Add("ns", "a", "0f8fad5b-d9cb-469f-a165-70867728950e", "1", "", "007")
	f.Add("", "a", "u", "", "0F8FAD5B-D9CB-469F-A165-70867728950E", "18446744073709551616")
	f.Add("a/b", "", "", "", "", "")
	f.Add("\xff", strings.Repeat("long", 70), "0f8fad5b-d9cb-469f-a165-70867728950e", "0", "0f8fad5b-d9cb-469f-a165_70867728950e", "00")
	f.Fuzz(func(t *testing.T, namespace, name, uid, version, nextUID, nextVersion string) {
		s := mirror.NewSmallResourceVersions(4)
		others := map[store.Key]store.Meta{}
		for i := range 10 {
			meta := poolMeta(i, oddUIDs[i], strconv.Itoa(i))
			others[meta.Key] = meta
			if err := s.Set(meta, 0); err != nil {
				t.Fatal(err)
			}
		}
		key := store.Key{Namespace: namespace, Name: name}
		delete(others, key)
		from := store.Meta{Key: key, UID: types.UID(uid), Version: version}
		if name == "" {
			if err := s.Set(from, 0); err == nil || s.Len() != len(others) {
				t.Errorf("Set(%#v) = %v, %d records", from, err, s.Len())
			}
			return
		}
		checkRoundTrip(t, s, from, store.Meta{Key: key, UID: types.UID(nextUID), Version: nextVersion})
		for _, meta := range others {
			if got, ok, _ := s.Get(meta.Key); !ok || got != meta {
				t.Errorf("got %#v, %t, want %#v", got, ok, meta)
			}
		}
		if err := s.Delete(key); err != nil || s.Len() != len(others) {
			t.Errorf("Delete(%#v) = %v, %d records", key, err, s.Len())
		}
	})
}

// TestResourceVersionsWithoutName: a key without a name is refused, and nothing
// is changed by it.
func TestResourceVersionsWithoutName(t *testing.T) {
	s := mirror.NewResourceVersionStorage()
	held := poolMeta(1, "u", "1")
	if err := s.Set(held, 0); err != nil {
		t.Fatal(err)
	}
	nameless := store.Meta{Key: store.Key{Namespace: "ns"}, UID: "u", Version: "1"}
	for call, err := range map[string]error{
		"Set":     s.Set(nameless, 0),
		"Replace": s.Replace(slices.Values([]store.Meta{poolMeta(2, "u", "1"), nameless})),
	} {
		if err == nil || !strings.Contains(err.Error(), "without a name") || !strings.Contains(err.Error(), `"ns"`) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if _, ok, err := s.Get(nameless.Key); ok || err != nil {
		t.Errorf("Get: %t, %v", ok, err)
	}
	if held, err := s.Mark(nameless); held || err != nil {
		t.Errorf("Mark: %t, %v", held, err)
	}
	if err := s.Delete(nameless.Key); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if got := fmt.Sprint(slices.Collect(s.Keys())); got != fmt.Sprint([]store.Key{held.Key}) {
		t.Errorf("got %s", got)
	}
}
