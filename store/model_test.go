// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
)

// model is what a store must be like, said as simply as possible.
type model struct {
	objects map[store.Key]*thing
	version string
	open    bool
	seen    map[store.Key]bool
	stats   store.Stats
	changes []store.Change[*thing]
	indexes map[string]store.IndexFunc[*thing]
}

func (m *model) report(c store.Change[*thing]) {
	c.InPass = m.open
	m.changes = append(m.changes, c)
}

func (m *model) begin() {
	if m.open {
		m.stats.Aborts++
	}
	m.open, m.seen = true, map[store.Key]bool{}
}

func (m *model) holds(meta store.Meta) bool {
	held := m.objects[meta.Key]
	if held == nil || meta.Version == "" || held.Meta != meta {
		return false
	}
	if m.open {
		m.seen[meta.Key] = true
	}
	return true
}

func (m *model) apply(meta store.Meta, obj *thing) {
	held := m.objects[meta.Key]
	if m.open {
		if m.holds(meta) {
			return
		}
		m.seen[meta.Key] = true
	} else if held != nil {
		order, ordered := store.CompareVersions(meta.Version, held.Version)
		same := meta.UID == held.UID || meta.UID == "" || held.UID == ""
		if same && ordered && order <= 0 ||
			same && !ordered && meta.Version != "" && meta.Version == held.Version ||
			!same && ordered && order < 0 {
			m.stats.Stale++
			if !m.open {
				m.advance(meta.Version)
			}
			return
		}
	}
	if held == nil {
		m.report(store.Change[*thing]{Kind: store.Added, Meta: meta, New: obj})
	} else {
		m.report(store.Change[*thing]{Kind: store.Updated, Meta: meta, OldMeta: held.Meta, Old: held, New: obj})
	}
	m.objects[meta.Key] = obj
	m.countIndexErrors(obj)
	if !m.open {
		m.advance(meta.Version)
	}
}

func (m *model) countIndexErrors(obj *thing) {
	if m.indexes["tag"] != nil && obj.Trouble != none {
		m.stats.IndexErrors++
	}
}

func (m *model) delete(meta store.Meta, last *thing) {
	held := m.objects[meta.Key]
	if held != nil && held.UID != meta.UID && held.UID != "" && meta.UID != "" {
		if order, ordered := store.CompareVersions(meta.Version, held.Version); ordered && order <= 0 {
			m.stats.Stale++
			if !m.open {
				m.advance(meta.Version)
			}
			return
		}
		last = nil
	}
	if !m.open {
		m.advance(meta.Version)
	}
	if held == nil {
		return
	}
	delete(m.objects, meta.Key)
	delete(m.seen, meta.Key)
	m.report(store.Change[*thing]{Kind: store.Deleted, Meta: meta, OldMeta: held.Meta, Old: held, New: last})
}

// commit reports the deletions in the order of their keys.
func (m *model) commit(version string) {
	m.stats.Commits++
	m.version = version
	for _, key := range slices.SortedFunc(maps.Keys(m.objects), store.Key.Compare) {
		if !m.seen[key] {
			held := m.objects[key]
			delete(m.objects, key)
			m.stats.Swept++
			m.report(store.Change[*thing]{Kind: store.Deleted, Meta: held.Meta, OldMeta: held.Meta, Old: held})
		}
	}
	m.open = false
}

func (m *model) advance(version string) {
	order, ordered := store.CompareVersions(version, m.version)
	if version != "" && (!ordered || order > 0) {
		m.version = version
	}
}

// index returns the whole content of an index.
func (m *model) index(name string) map[string][]store.Key {
	index := map[string][]store.Key{}
	for key, obj := range m.objects {
		values, err := func() (values []string, err error) {
			defer func() {
				if recover() != nil {
					err = errTag
				}
			}()
			return m.indexes[name](nil, obj)
		}()
		if err != nil {
			continue
		}
		for _, v := range slices.Compact(slices.Sorted(slices.Values(values))) {
			index[v] = append(index[v], key)
		}
	}
	return index
}

var (
	anyVersion = rapid.OneOf(
		rapid.Map(rapid.IntRange(1, 20), func(i int) string { return fmt.Sprint(i) }),
		rapid.Map(rapid.IntRange(1, 20), func(i int) string { return fmt.Sprint(i) }),
		rapid.SampledFrom([]string{"", "0", "abc", "abd", long, long1}),
	)
	anyMeta = rapid.Custom(func(t *rapid.T) store.Meta {
		return store.Meta{
			Key: store.Key{
				Namespace: rapid.SampledFrom([]string{"", "n", "m"}).Draw(t, "namespace"),
				Name:      rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name"),
			},
			UID:     types.UID(rapid.SampledFrom([]string{"", "u", "u", "u", "v", "w"}).Draw(t, "uid")),
			Version: anyVersion.Draw(t, "version"),
		}
	})
	anyTags    = rapid.SliceOfN(rapid.SampledFrom([]string{"", "red", "green", "blue", "grey"}), 0, 6)
	anyTrouble = rapid.SampledFrom([]trouble{none, none, none, none, errs, panics, panicsWithError})
)

// TestModel drives a store and its model with the same calls, and compares
// everything that can be seen of them after each.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{
			objects: map[store.Key]*thing{},
			seen:    map[store.Key]bool{},
			indexes: map[string]store.IndexFunc[*thing]{"namespace": namespace},
		}
		var s *store.Store[*thing]
		var got []store.Change[*thing]
		var indexErrs uint64
		s, err := store.New(store.Config[*thing]{
			Indexers: m.indexes,
			OnChange: func(c store.Change[*thing]) {
				checkRecord(t, &c)
				if c.Generation != s.Generation() || c.Generation != s.Snapshot().Generation() {
					t.Fatalf("%s %v is of generation %d, the store of %d", c.Kind, c.Meta, c.Generation, s.Generation())
				}
				c.Generation = 0
				obj, ok := s.Get(c.Meta.Key)
				if ok != (c.Kind != store.Deleted) || ok && obj != c.New {
					t.Fatalf("%s %v is reported before it is visible", c.Kind, c.Meta)
				}
				got = append(got, c)
			},
			OnIndexError: func(err error) {
				var ie *store.IndexError
				if !errors.As(err, &ie) || ie.Index != "tag" {
					t.Fatalf("unexpected error: %v", err)
				}
				indexErrs++
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		replayed := map[store.Key]*thing{}
		check := func(t *rapid.T) {
			wantChanges(t, got, m.changes)
			replay(t, replayed, got)
			got, m.changes = nil, nil
			m.stats.Objects, m.stats.Indexes = len(m.objects), len(m.indexes)
			if s.Stats() != m.stats || m.stats.IndexErrors != indexErrs {
				t.Fatalf("stats %+v with %d errors reported, want %+v", s.Stats(), indexErrs, m.stats)
			}
			if s.Version() != m.version {
				t.Fatalf("version %q, want %q", s.Version(), m.version)
			}
			if !maps.Equal(replayed, m.objects) {
				t.Fatalf("the changes make up %v, want %v", replayed, m.objects)
			}
			wantContent(t, s, m)
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		apply := func(t *rapid.T) {
			meta := anyMeta.Draw(t, "meta")
			obj := &thing{Meta: meta, Tags: anyTags.Draw(t, "tags"), Trouble: anyTrouble.Draw(t, "trouble")}
			m.apply(meta, obj)
			must(s.Apply(ctx, meta, obj))
		}
		holds := func(t *rapid.T) {
			meta := anyMeta.Draw(t, "meta")
			if held := m.objects[meta.Key]; held != nil && rapid.Bool().Draw(t, "exactly") {
				meta = held.Meta
			}
			if got, want := s.Has(meta), m.holds(meta); got != want {
				t.Fatalf("Has(%v#%s) = %t", meta, meta.UID, got)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":       check,
			"apply":  apply,
			"apply2": apply,
			"holds":  holds,
			"holds2": holds,
			"begin": func(t *rapid.T) {
				m.begin()
				must(s.Begin(ctx, store.Pass{}))
			},
			"delete": func(t *rapid.T) {
				meta := anyMeta.Draw(t, "meta")
				known := rapid.Bool().Draw(t, "known")
				var last *thing
				if known {
					last = &thing{Meta: meta}
				}
				m.delete(meta, last)
				must(s.Delete(ctx, meta, last, known))
			},
			"commit": func(t *rapid.T) {
				version := anyVersion.Draw(t, "version")
				if !m.open {
					if err := s.Commit(ctx, version); !errors.Is(err, store.ErrNoPass) {
						t.Fatalf("commit without a pass: %v", err)
					}
					return
				}
				m.commit(version)
				must(s.Commit(ctx, version))
				slices.SortFunc(got, func(a, b store.Change[*thing]) int { return a.Meta.Key.Compare(b.Meta.Key) })
			},
			"abort": func(t *rapid.T) {
				if m.open {
					m.open = false
					m.stats.Aborts++
				}
				s.Abort(store.Pass{}, errors.New("broken off"))
			},
			"progress": func(t *rapid.T) {
				version := anyVersion.Draw(t, "version")
				if !m.open {
					m.advance(version)
				}
				must(s.Progress(ctx, version))
			},
			"page": func(t *rapid.T) { must(s.Page(ctx, store.PageInfo{Number: 1})) },
			"index": func(t *rapid.T) {
				if m.indexes["tag"] != nil {
					t.Skip("there already")
				}
				must(s.AddIndexers(map[string]store.IndexFunc[*thing]{"tag": tags}))
				m.indexes["tag"] = tags
				for _, obj := range m.objects {
					m.countIndexErrors(obj)
				}
			},
		})
	})
}

// checkRecord checks the record of a change, and takes it out.
func checkRecord(t *rapid.T, c *store.Change[*thing]) {
	meta, obj := c.Meta, c.New
	if c.Kind == store.Deleted {
		meta, obj = c.OldMeta, c.Old
	}
	if c.Record.Meta() != meta || c.Record.Object() != obj || c.Record.Key() != meta.Key {
		t.Fatalf("%s: the record is of %v", c.Kind, c.Record.Meta())
	}
	if fresh := c.Kind == store.Added; fresh != (c.Tag() == 0) {
		t.Fatalf("%s: the tag is %d", c.Kind, c.Tag())
	}
	c.SetTag(c.Tag() + 1)
	c.Record = nil
}

func wantChanges(t *rapid.T, got, want []store.Change[*thing]) {
	same := func(a, b store.Change[*thing]) bool {
		return a.Kind == b.Kind && a.Meta == b.Meta && a.OldMeta == b.OldMeta && a.Old == b.Old && a.New == b.New && a.InPass == b.InPass
	}
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("changes:\ngot  %+v\nwant %+v", got, want)
	}
}

// replay applies changes to what earlier ones made.
func replay(t *rapid.T, objects map[store.Key]*thing, changes []store.Change[*thing]) {
	for _, c := range changes {
		if objects[c.Meta.Key] != c.Old {
			t.Fatalf("%s %v: the old object is not the last one reported", c.Kind, c.Meta)
		}
		if c.Kind == store.Deleted {
			delete(objects, c.Meta.Key)
		} else {
			objects[c.Meta.Key] = c.New
		}
	}
}

// wantContent compares all reads.
func wantContent(t *rapid.T, s *store.Store[*thing], m *model) {
	if all := maps.Collect(s.All()); !maps.Equal(all, m.objects) || s.Len() != len(m.objects) {
		t.Fatalf("All: %v, want %v", all, m.objects)
	}
	list := map[*thing]bool{}
	for _, obj := range s.List() {
		list[obj] = true
	}
	for key, obj := range m.objects {
		if !list[obj] {
			t.Fatalf("List lacks %v", obj)
		}
		if meta, entry, ok := s.Entry(key); !ok || meta != obj.Meta || entry != obj {
			t.Fatalf("Entry(%v) = %v, %v, %t", key, meta, entry, ok)
		}
	}
	if len(s.List()) != len(m.objects) {
		t.Fatalf("List has %d", len(s.List()))
	}
	for meta, obj := range s.Entries() {
		if meta != obj.Meta {
			t.Fatalf("Entries: %v with the meta %v", obj, meta)
		}
	}
	for name := range m.indexes {
		want := m.index(name)
		values, err := s.IndexValues(name)
		slices.Sort(values)
		if wantValues := slices.Sorted(maps.Keys(want)); err != nil || !slices.Equal(values, wantValues) {
			t.Fatalf("index %s has %q, want %q, %v", name, values, wantValues, err)
		}
		for value, wantKeys := range want {
			keys, err := s.IndexKeys(name, value)
			slices.SortFunc(keys, store.Key.Compare)
			slices.SortFunc(wantKeys, store.Key.Compare)
			if err != nil || !slices.Equal(keys, wantKeys) {
				t.Fatalf("index %s has %v under %q, want %v, %v", name, keys, value, wantKeys, err)
			}
			objs, err := s.ByIndex(name, value)
			slices.SortFunc(objs, func(a, b *thing) int { return cmp.Or(a.Key.Compare(b.Key)) })
			if err != nil || len(objs) != len(wantKeys) {
				t.Fatalf("index %s has %v under %q, %v", name, objs, value, err)
			}
			for i, key := range wantKeys {
				if objs[i] != m.objects[key] {
					t.Fatalf("index %s has an old %v under %q", name, key, value)
				}
			}
		}
	}
}
