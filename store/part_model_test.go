// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
)

// partModel is what a part must be like: a store of its own.
type partModel struct {
	model
	part *store.Part[*thing]
}

// partsModel is what a store with parts must be like.
type partsModel struct {
	parts   map[string]*partModel
	removed []*store.Part[*thing]
	past    store.Stats
}

func (m *partsModel) objects() map[store.Key]*thing {
	all := map[store.Key]*thing{}
	for _, p := range m.parts {
		maps.Copy(all, p.model.objects)
	}
	return all
}

func (m *partsModel) stats() store.Stats {
	sum := m.past
	for _, p := range m.parts {
		sum.Stale += p.stats.Stale
		sum.Commits += p.stats.Commits
		sum.Aborts += p.stats.Aborts
		sum.Swept += p.stats.Swept
	}
	sum.Objects = len(m.objects())
	return sum
}

// version is the one that no other is older than.
func (m *partsModel) version() string {
	var versions []string
	for _, p := range m.parts {
		versions = append(versions, p.version)
	}
	for _, v := range versions {
		if !slices.ContainsFunc(versions, func(other string) bool {
			order, ordered := store.CompareVersions(v, other)
			return v == "" || other == "" || v != other && (!ordered || order > 0)
		}) {
			return v
		}
	}
	return ""
}

// TestPartsModel drives the parts of a store, and a naive model of each, with the same calls.
func TestPartsModel(t *testing.T) {
	namespaces := []string{"a", "b", "c"}
	rapid.Check(t, func(t *rapid.T) {
		m := &partsModel{parts: map[string]*partModel{}}
		var got, want []store.Change[*thing]
		s, err := store.New(store.Config[*thing]{OnChange: func(c store.Change[*thing]) {
			checkRecord(t, &c)
			c.Generation = 0
			got = append(got, c)
		}})
		if err != nil {
			t.Fatal(err)
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		byKey := func(a, b store.Change[*thing]) int { return a.Meta.Key.Compare(b.Meta.Key) }
		part := func(t *rapid.T) (*partModel, string) {
			ns := rapid.SampledFrom(namespaces).Draw(t, "namespace")
			if m.parts[ns] == nil {
				t.Skip("no such part")
			}
			return m.parts[ns], ns
		}
		metaIn := func(t *rapid.T, ns string) store.Meta {
			return store.Meta{
				Key:     store.Key{Namespace: ns, Name: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "name")},
				UID:     types.UID(rapid.SampledFrom([]string{"u", "u", "v"}).Draw(t, "uid")),
				Version: anyVersion.Draw(t, "version"),
			}
		}
		apply := func(t *rapid.T) {
			p, ns := part(t)
			meta := metaIn(t, ns)
			obj := &thing{Meta: meta}
			p.apply(meta, obj)
			must(p.part.Apply(ctx, meta, obj))
		}
		commit := func(t *rapid.T) {
			p, _ := part(t)
			version := anyVersion.Draw(t, "version")
			if !p.open {
				if err := p.part.Commit(ctx, version); !errors.Is(err, store.ErrNoPass) {
					t.Fatalf("commit without a pass: %v", err)
				}
				return
			}
			p.commit(version)
			must(p.part.Commit(ctx, version))
			slices.SortFunc(got, byKey)
		}
		begin := func(t *rapid.T) {
			p, _ := part(t)
			p.begin()
			must(p.part.Begin(ctx, store.Pass{}))
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				for _, ns := range namespaces {
					if p := m.parts[ns]; p != nil {
						want = append(want, p.changes...)
						p.changes = nil
						keys := slices.SortedFunc(p.part.Keys(), store.Key.Compare)
						if !slices.Equal(keys, slices.SortedFunc(maps.Keys(p.model.objects), store.Key.Compare)) || p.part.Len() != len(keys) {
							t.Fatalf("part %s has %v", ns, keys)
						}
					}
				}
				wantChanges(t, got, want)
				got, want = nil, nil
				if all := maps.Collect(s.All()); !maps.Equal(all, m.objects()) {
					t.Fatalf("it has %v, want %v", all, m.objects())
				}
				if s.Stats() != m.stats() {
					t.Fatalf("stats %+v, want %+v", s.Stats(), m.stats())
				}
				if s.Version() != m.version() {
					t.Fatalf("version %q, want %q", s.Version(), m.version())
				}
				for _, p := range m.removed {
					if err := p.Begin(ctx, store.Pass{}); err == nil {
						t.Fatal("a removed part began a pass")
					}
				}
			},
			"add": func(t *rapid.T) {
				ns := rapid.SampledFrom(namespaces).Draw(t, "namespace")
				p, err := s.AddPart(ns)
				if exists := m.parts[ns] != nil; exists != (err != nil) {
					t.Fatalf("add %s: %v", ns, err)
				}
				if err == nil {
					m.parts[ns] = &partModel{part: p, model: model{objects: map[store.Key]*thing{}, seen: map[store.Key]bool{}}}
				}
			},
			"remove": func(t *rapid.T) {
				p, ns := part(t)
				p.part.Remove()
				slices.SortFunc(got, byKey)
				p.begin() // a pass without objects
				p.commit("")
				want = append(want, p.changes...)
				m.past.Stale += p.stats.Stale
				m.past.Commits += p.stats.Commits - 1
				m.past.Aborts += p.stats.Aborts
				m.past.Swept += p.stats.Swept
				delete(m.parts, ns)
				m.removed = append(m.removed, p.part)
			},
			"apply": apply, "apply2": apply, "apply3": apply,
			"commit": commit, "commit2": commit, "begin": begin, "begin2": begin,
			"holds": func(t *rapid.T) {
				p, ns := part(t)
				meta := metaIn(t, ns)
				if held := p.model.objects[meta.Key]; held != nil && rapid.Bool().Draw(t, "exactly") {
					meta = held.Meta
				}
				if got, want := p.part.Has(meta), p.holds(meta); got != want {
					t.Fatalf("Has(%v#%s) = %t", meta, meta.UID, got)
				}
			},
			"delete": func(t *rapid.T) {
				p, ns := part(t)
				meta := metaIn(t, ns)
				p.delete(meta, nil)
				must(p.part.Delete(ctx, meta, nil, false))
			},
			"abort": func(t *rapid.T) {
				p, _ := part(t)
				if p.open {
					p.open = false
					p.stats.Aborts++
				}
				p.part.Abort(store.Pass{}, errors.New("broken off"))
			},
			"progress": func(t *rapid.T) {
				p, _ := part(t)
				version := anyVersion.Draw(t, "version")
				if !p.open {
					p.advance(version)
				}
				must(p.part.Progress(ctx, version))
			},
			"foreign": func(t *rapid.T) {
				p, _ := part(t)
				meta := metaIn(t, "other")
				if p.part.Apply(ctx, meta, &thing{Meta: meta}) == nil || p.part.Delete(ctx, meta, nil, false) == nil || p.part.Has(meta) {
					t.Fatal("an object of another namespace was accepted")
				}
			},
		})
	})
}
