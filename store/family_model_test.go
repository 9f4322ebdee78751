// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
)

// family is a naive model of an Indexer of pods, which has no observer: each state
// is a map of its own.
type family struct {
	pods    map[store.Key]*corev1.Pod
	metas   map[store.Key]store.Meta
	indexed bool // by node
	version string
}

func (f *family) clone() family {
	return family{maps.Clone(f.pods), maps.Clone(f.metas), f.indexed, f.version}
}

func (f *family) put(meta store.Meta, pod *corev1.Pod) {
	f.pods[meta.Key], f.metas[meta.Key] = pod, meta
}

func (f *family) delete(key store.Key) {
	delete(f.pods, key)
	delete(f.metas, key)
}

func (f *family) advance(version string) {
	if version != "" && store.Supersedes(version, f.version) {
		f.version = version
	}
}

// reads is what a Store and a Snapshot have in common.
type reads interface {
	Len() int
	Version() string
	List() []*corev1.Pod
	All() iter.Seq2[store.Key, *corev1.Pod]
	Entries() iter.Seq2[store.Meta, *corev1.Pod]
	Get(store.Key) (*corev1.Pod, bool)
	Entry(store.Key) (store.Meta, *corev1.Pod, bool)
	Index(string) (store.Index[*corev1.Pod], error)
}

// check compares all reads.
func (f *family) check(t *rapid.T, what string, r reads) {
	if got := maps.Collect(r.All()); !maps.Equal(got, f.pods) || r.Len() != len(f.pods) || len(r.List()) != len(f.pods) {
		t.Fatalf("%s: has %v, want %v", what, got, f.pods)
	}
	if r.Version() != f.version {
		t.Fatalf("%s: version %q, want %q", what, r.Version(), f.version)
	}
	for meta, pod := range r.Entries() {
		if meta != f.metas[meta.Key] || pod != f.pods[meta.Key] {
			t.Fatalf("%s: the entry of %v, want %v", what, meta, f.metas[meta.Key])
		}
	}
	for _, name := range podNames {
		key := store.Key{Namespace: "ns", Name: name}
		meta, entry, ok := r.Entry(key)
		pod, found := r.Get(key)
		if meta != f.metas[key] || entry != f.pods[key] || pod != f.pods[key] || ok != found || ok != (pod != nil) {
			t.Fatalf("%s: Get(%v) = %v, Entry %v %v, want %v %v", what, key, pod, meta, entry, f.metas[key], f.pods[key])
		}
	}
	f.checkIndex(t, what, r)
}

func (f *family) checkIndex(t *rapid.T, what string, r reads) {
	byNode, err := r.Index("node")
	if (err == nil) != f.indexed {
		t.Fatalf("%s: the index of nodes: %v", what, err)
	}
	if !f.indexed {
		return
	}
	want := map[string][]string{}
	for key, pod := range f.pods {
		if pod.Spec.NodeName != "" {
			want[pod.Spec.NodeName] = append(want[pod.Spec.NodeName], key.Name)
		}
	}
	values := byNode.Values()
	slices.Sort(values)
	if !slices.Equal(values, slices.Sorted(maps.Keys(want))) {
		t.Fatalf("%s: nodes %q, want %v", what, values, want)
	}
	for _, node := range nodeNames {
		var names []string
		for key, pod := range byNode.All(node) {
			if pod != f.pods[key] {
				t.Fatalf("%s: the index has another %v", what, key)
			}
			names = append(names, key.Name)
		}
		slices.Sort(names)
		slices.Sort(want[node])
		if !slices.Equal(names, want[node]) || byNode.Count(node) != len(names) ||
			len(byNode.List(node)) != len(names) || len(byNode.Keys(node)) != len(names) {
			t.Fatalf("%s: on %s are %q, want %q", what, node, names, want[node])
		}
	}
}

var (
	podNames = func() (names []string) {
		for i := range 300 {
			names = append(names, fmt.Sprint("pod-", i))
		}
		return names
	}()
	nodeNames = []string{"a", "b", "c"}

	anyMember = rapid.Custom(func(t *rapid.T) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "ns", Name: rapid.SampledFrom(podNames[:rapid.SampledFrom([]int{5, 5, 5, 300}).Draw(t, "names")]).Draw(t, "name"), UID: "u",
				ResourceVersion: fmt.Sprint(rapid.IntRange(1, 30).Draw(t, "version")),
			},
			Spec: corev1.PodSpec{NodeName: rapid.SampledFrom(append(nodeNames, "")).Draw(t, "node")},
		}
	})
)

func nodeOf(values []string, pod *corev1.Pod) ([]string, error) {
	if pod.Spec.NodeName == "" {
		return values, nil
	}
	return append(values, pod.Spec.NodeName), nil
}

func older(next, held string) bool {
	order, ordered := store.CompareVersions(next, held)
	return ordered && order < 0
}

// TestFamilyModel does everything that may be done to an Indexer, and compares it,
// and every snapshot that was ever taken of it, with the model.
func TestFamilyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, err := store.NewIndexer(store.MetaNamespaceKeyFunc[*corev1.Pod], nil)
		if err != nil {
			t.Fatal(err)
		}
		m := family{pods: map[store.Key]*corev1.Pod{}, metas: map[store.Key]store.Meta{}}
		type taken struct {
			snap store.Snapshot[*corev1.Pod]
			want family
		}
		kept := []taken{{x.Snapshot(), m.clone()}}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		update := func(t *rapid.T) {
			pod := anyMember.Draw(t, "pod")
			must(x.Update(pod))
			if meta := store.MetaOf(pod); !older(meta.Version, m.metas[meta.Key].Version) {
				m.put(meta, pod)
				m.advance(meta.Version)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"":        func(t *rapid.T) { m.check(t, "now", x.Store) },
			"update":  update,
			"update2": update,
			"update3": update,
			"snapshot": func(t *rapid.T) {
				snap := x.Snapshot()
				m.check(t, "just taken", snap)
				kept = append(kept, taken{snap, m.clone()})
			},
			"list": func(t *rapid.T) { x.List() }, // which is a snapshot, too
			"delete": func(t *rapid.T) {
				pod := anyMember.Draw(t, "pod")
				must(x.Delete(pod))
				m.delete(store.KeyOf(pod))
			},
			"as another": func(t *rapid.T) { // the meta are not those of the object
				pod := anyMember.Draw(t, "pod")
				meta := store.MetaOf(pod)
				meta.UID = "v"
				must(x.Apply(context.Background(), meta, pod))
				if held, ok := m.metas[meta.Key]; !ok || !store.Stale(meta, held) {
					m.put(meta, pod)
				}
				m.advance(meta.Version)
			},
			"write": func(t *rapid.T) { writeFamily(t, x, &m) },
			"fill": func(t *rapid.T) {
				version := fmt.Sprint(rapid.IntRange(1, 30).Draw(t, "version"))
				for i, name := range podNames {
					pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: "u", ResourceVersion: version}}
					pod.Spec.NodeName = nodeNames[i%len(nodeNames)]
					must(x.Add(pod))
					if meta := store.MetaOf(pod); !older(meta.Version, m.metas[meta.Key].Version) {
						m.put(meta, pod)
						m.advance(meta.Version)
					}
				}
			},
			"empty": func(t *rapid.T) {
				for i, name := range podNames {
					if i%10 > 0 {
						must(x.Delete(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}))
						m.delete(store.Key{Namespace: "ns", Name: name})
					}
				}
			},
			"replace": func(t *rapid.T) {
				pods := rapid.SliceOfN(anyMember, 0, 20).Draw(t, "pods")
				before := m.clone()
				diff, err := x.Replace(pods, "7")
				must(err)
				m.pods, m.metas, m.version = map[store.Key]*corev1.Pod{}, map[store.Key]store.Meta{}, "7"
				for _, pod := range pods {
					m.put(store.MetaOf(pod), pod)
				}
				for key, meta := range m.metas { // what is the same stays
					if meta == before.metas[key] {
						m.pods[key] = before.pods[key]
					}
				}
				wantDifference(t, before, m, diff)
			},
			"index": func(t *rapid.T) {
				if m.indexed {
					t.Skip("there already")
				}
				_, err := x.AddIndex("node", nodeOf)
				must(err)
				m.indexed = true
			},
		})
		for i, k := range kept {
			k.want.check(t, fmt.Sprintf("snapshot %d of %d", i+1, len(kept)), k.snap)
		}
	})
}

func writeFamily(t *rapid.T, x *store.Indexer[*corev1.Pod], m *family) {
	before := m.clone()
	var writes []store.Write[*corev1.Pod]
	for range rapid.IntRange(0, 10).Draw(t, "writes") {
		pod := anyMember.Draw(t, "pod")
		w := store.Write[*corev1.Pod]{Meta: store.MetaOf(pod), Object: pod, Delete: rapid.Bool().Draw(t, "delete")}
		writes = append(writes, w)
		key := w.Meta.Key
		held, ok := m.metas[key]
		switch {
		case w.Delete && ok && store.Superseded(w.Meta, held):
		case w.Delete:
			m.delete(key)
		case !older(w.Meta.Version, m.metas[key].Version):
			m.put(w.Meta, pod)
		}
	}
	diff, err := x.Write(writes...)
	if err != nil {
		t.Fatal(err)
	}
	for c := range diff.All() {
		m.advance(c.Meta.Version)
	}
	wantDifference(t, before, *m, diff)
}

// wantDifference checks that diff leads from before to after.
func wantDifference(t *rapid.T, before, after family, diff store.Difference[*corev1.Pod]) {
	counts := map[store.ChangeKind]int{}
	for c := range diff.All() {
		counts[c.Kind]++
		key := c.Meta.Key
		held, was := before.pods[key]
		switch {
		case was != (c.Kind != store.Added), c.Old != held, c.OldMeta != before.metas[key]:
			t.Fatalf("%s %v: the old one is %v, want %v", c.Kind, c.Meta, c.OldMeta, before.metas[key])
		case c.Kind == store.Deleted:
			before.delete(key)
		default:
			before.put(c.Meta, c.New)
		}
	}
	if !maps.Equal(before.pods, after.pods) || !maps.Equal(before.metas, after.metas) {
		t.Fatalf("the difference leads to %v, want %v", before.metas, after.metas)
	}
	if diff.Len() != diff.Added+diff.Updated+diff.Deleted || counts[store.Added] != diff.Added || counts[store.Deleted] != diff.Deleted {
		t.Fatalf("counts %+v of %v", diff, counts)
	}
}
