// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/store"
)

var byNode = cache.Indexers{"node": func(obj any) ([]string, error) {
	if obj.(*corev1.Pod).Name == "broken" {
		return nil, errTest
	}
	return strings.Fields(obj.(*corev1.Pod).Spec.NodeName), nil // some are on two nodes
}}

func withLabels(labels map[string]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = labels }
}

// What the index has under the value enters and leaves, as with a filter.
func TestByIndex(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t, WithIndexers(byNode))
		here := ByIndex[*corev1.Pod](r.view, "node", "here")
		events, there := here.Events(t.Context()), ByIndex[*corev1.Pod](r.view, "node", "there").Events(t.Context())
		r.begin()
		r.upsert("a", onNode("here"))
		r.upsert("b")
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		expect(t, there, "sync")
		r.upsert("b", onNode("here"))
		expect(t, events, "upsert b@4")
		r.upsert("a", onNode("there"))
		expect(t, events, "delete a@1")
		expect(t, there, "upsert a@5")
		r.upsert("a", onNode("elsewhere"))
		expect(t, there, "delete a@5")
		r.upsert("a", onNode("here there"))
		expect(t, events, "upsert a@7")
		expect(t, there, "upsert a@7")
		r.delete("a")
		expect(t, events, "delete a@7")
		expect(t, there, "delete a@7")
		r.upsert("broken", onNode("here"))
		nothing(t, events)

		late := here.Events(t.Context())
		expect(t, late, "upsert b@4", "sync")
		r.upsertAs("b", "another", onNode("here"))
		expect(t, late, "delete b@4", "upsert b@10")
		expect(t, events, "delete b@4", "upsert b@10")
		nothing(t, late)
		nothing(t, there)

		s, err := here.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.upsert("c", onNode("here"))
		r.upsert("d", onNode("there"))
		var names []string
		for key := range s.IterKeys() {
			names = append(names, key.Name)
		}
		slices.Sort(names)
		if _, exists, _ := s.GetByKey(podKey("d")); exists || len(s.List()) != 2 || fmt.Sprint(names) != "[b c]" {
			t.Errorf("the store has %v, and d: %t", names, exists)
		}
		if keys, err := s.IndexKeys("node", "there"); err != nil || len(keys) != 0 {
			t.Errorf("the store has %v there, %v", keys, err)
		}
	})
}

// A subscriber that is slow, fails, or leaves the view in the midst of it gets what it would
// get from a filter.
func TestByIndexLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t, WithIndexers(byNode))
		events := ByIndex[*corev1.Pod](r.view, "node", "here").Events(t.Context(), after(time.Hour))
		r.begin()
		r.upsert("a", onNode("here"))
		r.upsert("b", onNode("here"))
		r.commit()
		a := take(t, events)
		expect(t, events, "upsert b@2", "sync")
		r.upsert("a")
		r.delete("a") // seen by nobody in the view
		nothing(t, events)
		a.Done(nil)
		gone := take(t, events)
		if text(gone) != "delete a@1" {
			t.Fatalf("got %s", text(gone))
		}
		// Its id is not given to another key while the Delete is outstanding.
		for i := range 10 {
			r.upsert(fmt.Sprint("other-", i), onNode("here"))
		}
		gone.Done(errTest)
		for i := range 10 {
			expect(t, events, fmt.Sprintf("upsert other-%d@%d", i, 6+i))
		}
		r.upsert("a", onNode("here"))
		expect(t, events, "upsert a@16")
		time.Sleep(2 * time.Hour)
		nothing(t, events)
	})
}

// Views of views have what is in both.
func TestViewsOfViews(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t, WithIndexers(byNode), WithIndexers(LabelIndex("app")))
		shop := func(p *corev1.Pod) bool { return p.Labels["app"] == "shop" }
		views := map[string]Resource[*corev1.Pod]{
			"filter of index": Filter(ByIndex[*corev1.Pod](r.view, "node", "here"), shop),
			"index of filter": ByIndex(Filter[*corev1.Pod](r.view, shop), "node", "here"),
			"index of index":  ByIndex(ByIndex[*corev1.Pod](r.view, "node", "here"), "label:app", "shop"),
			"label of index":  WithLabel(ByIndex[*corev1.Pod](r.view, "node", "here"), "app", "shop"),
			"index of label":  ByIndex(WithLabel[*corev1.Pod](r.view, "app", "shop"), "node", "here"),
			"all of them":     InNamespace(Distinct(Filter(WithLabel(ByIndex[*corev1.Pod](r.view, "node", "here"), "app", "shop"), shop), SameContent), "ns"),
		}
		events := map[string]<-chan podEvent{}
		for name, v := range views {
			events[name] = v.Events(t.Context())
		}
		r.sync()
		steps := []struct {
			do   func()
			want []string
		}{
			{func() {}, []string{"sync"}},
			{func() { r.upsert("a", onNode("here")) }, nil},
			{func() { r.upsert("a", onNode("here"), withLabels(map[string]string{"app": "shop"})) }, []string{"upsert a@3"}},
			{func() { r.upsert("a", onNode("there"), withLabels(map[string]string{"app": "shop"})) }, []string{"delete a@3"}},
			{func() { r.upsert("a", onNode("here"), withLabels(map[string]string{"app": "shop"})) }, []string{"upsert a@5"}},
			{func() { r.upsert("a", onNode("here"), withLabels(map[string]string{"app": "bank"})) }, []string{"delete a@5"}},
			{func() { r.delete("a") }, nil},
		}
		for i, step := range steps {
			step.do()
			for name, ch := range events {
				t.Log(i, name)
				expect(t, ch, step.want...)
				nothing(t, ch)
			}
		}
		for name, v := range views {
			s, err := v.Store(t.Context())
			if err != nil || len(s.List()) != 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Views by namespace and label use an index where there is one.
func TestViewsUseIndexes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		with := startRig(t, WithIndexers(LabelIndex("app")), WithIndexers(cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}))
		without := startRig(t)
		for _, r := range []*rig{with, without} {
			ns, app := InNamespace[*corev1.Pod](r.view, "ns").(view[*corev1.Pod]), WithLabel[*corev1.Pod](r.view, "app", "").(view[*corev1.Pod])
			if indexed := r == with; (ns.index != nil) != indexed || (app.index != nil) != indexed {
				t.Errorf("indexed is %t: by namespace %t, by label %t", indexed, ns.index != nil, app.index != nil)
			}
			inNS, none, empty := ns.Events(t.Context()), InNamespace[*corev1.Pod](r.view, "other").Events(t.Context()), app.Events(t.Context())
			r.begin()
			r.upsert("a")
			r.upsert("b", withLabels(map[string]string{"app": ""}))
			r.commit()
			expectSet(t, inNS, "upsert a@1", "upsert b@2")
			expect(t, inNS, "sync")
			expect(t, none, "sync")
			expect(t, empty, "upsert b@2", "sync")
		}
	})
}

func TestViewsRefuse(t *testing.T) {
	r := newRig(t)
	for want, v := range map[string]Resource[*corev1.Pod]{
		`resource.ByIndex of v1.Pod: no such index: "node"`:  ByIndex[*corev1.Pod](r.view, "node", "here"),
		"resource.Filter of v1.Pod: no function was given":   Filter[*corev1.Pod](r.view, nil),
		"resource.Distinct of v1.Pod: no function was given": Distinct[*corev1.Pod](r.view, nil),
		"resource.WithLabel: a <nil> was not made by":        WithLabel[*corev1.Pod](nil, "app", "shop"),
	} {
		_, err := v.Store(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if strings.Contains(want, "index") != errors.Is(err, store.ErrNoIndex) {
			t.Errorf("%v", err)
		}
		expectClosed(t, v.Events(t.Context()))
	}
	broken := New[*corev1.Pod](r.lc, nil)
	if _, err := ByIndex(broken, "node", "here").Store(t.Context()); err == nil || !strings.Contains(err.Error(), "lw is nil") {
		t.Errorf("a view of a resource that is not valid: %v", err)
	}
}

// Ten changes of the status are no event, and WaitFor sees them.
func TestDistinct(t *testing.T) {
	matters := func(p *corev1.Pod) any { return []any{p.Labels, p.Spec.NodeName} }
	for name, same := range map[string]func(a, b *corev1.Pod) bool{
		"by": SameBy(matters), "generation": SameGeneration[*corev1.Pod],
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := startRig(t)
				v := Distinct[*corev1.Pod](r.view, same)
				events := v.Events(t.Context(), after(time.Hour))
				spec := func(generation int64, node, phase string) func(*corev1.Pod) {
					return func(p *corev1.Pod) {
						p.Generation, p.Spec.NodeName, p.Status.Phase = generation, node, corev1.PodPhase(phase)
					}
				}
				r.begin()
				r.upsert("a", spec(1, "", "Pending"))
				r.commit()
				expect(t, events, "upsert a@1", "sync")
				for range 10 {
					r.upsert("a", spec(1, "", "Running"))
					nothing(t, events)
				}
				s, err := v.Store(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := s.WaitFor(t.Context(), "12"); err != nil {
					t.Error(err)
				}
				r.upsert("a", spec(2, "here", "Running"))
				failed := take(t, events)
				if text(failed) != "upsert a@13" {
					t.Fatalf("got %s", text(failed))
				}
				failed.Done(errTest)
				r.upsert("a", spec(2, "here", "Failed"))
				expect(t, events, "upsert a@14") // it failed, so it is emitted as soon as it changes
				r.upsert("a", spec(2, "here", "Succeeded"))
				nothing(t, events)
				r.upsertAs("a", "another", spec(2, "here", "Succeeded"))
				expect(t, events, "delete a@15", "upsert a@16")
				r.delete("a")
				expect(t, events, "delete a@16")
			})
		})
	}
}

func TestSameContent(t *testing.T) {
	typed := func(version, app string) *corev1.Pod {
		p := pod("a", "uid", 1)
		p.ResourceVersion, p.Labels = version, map[string]string{"app": app}
		p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: version}}
		return p
	}
	dynamic := func(version, app string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"app": app}}}
		u.SetResourceVersion(version)
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: version}})
		return u
	}
	partial := func(version, app string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: typed(version, app).ObjectMeta}
	}
	if !SameContent(typed("1", "shop"), typed("2", "shop")) || SameContent(typed("1", "shop"), typed("1", "bank")) {
		t.Error("typed objects")
	}
	if !SameContent(dynamic("1", "shop"), dynamic("2", "shop")) || SameContent(dynamic("1", "shop"), dynamic("1", "bank")) {
		t.Error("unstructured objects")
	}
	if !SameContent(partial("1", "shop"), partial("2", "shop")) || SameContent(partial("1", "shop"), partial("1", "bank")) {
		t.Error("partial objects")
	}
	a, b := typed("1", "shop"), dynamic("2", "shop")
	SameContent(a, a)
	SameContent(b, b)
	if a.ResourceVersion != "1" || a.ManagedFields == nil || b.GetResourceVersion() != "2" || b.GetManagedFields() == nil {
		t.Error("the objects were modified")
	}
	if SameGeneration(typed("1", "shop"), typed("2", "shop")) {
		t.Error("objects without a generation have the same one")
	}
}

func TestWithOld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := r.view.Events(t.Context(), WithOld(), after(time.Second))
		next := func(want, old string, err error) {
			t.Helper()
			e := take(t, events)
			got := "none"
			if e.Old != nil {
				got = e.Old.ResourceVersion
			}
			if text(e) != want || got != old {
				t.Fatalf("got %s, old %s, want %s, old %s", text(e), got, want, old)
			}
			e.Done(err)
		}
		r.sync("a")
		next("upsert a@1", "none", nil)
		next("sync", "none", nil)
		r.upsert("a")
		next("upsert a@3", "1", errTest)
		r.upsert("a")
		next("upsert a@4", "1", errTest)
		next("upsert a@4", "1", nil)
		r.delete("a")
		next("delete a@4", "4", errTest)
		next("delete a@4", "4", nil)
		r.upsert("a")
		next("upsert a@6", "none", nil)
		nothing(t, events)
		plain := r.view.Events(t.Context())
		take(t, plain).Done(nil)
		expect(t, plain, "sync")
		r.upsert("a")
		if e := take(t, plain); e.Old != nil {
			t.Error("an old object without the option")
		} else {
			e.Done(nil)
		}
	})
}

// A view that is left leaves nothing behind.
func TestViewsLeave(t *testing.T) {
	r := startRig(t, WithIndexers(byNode))
	r.begin()
	for i := range 100 {
		r.upsert(fmt.Sprint("pod-", i), onNode(fmt.Sprint("node-", i%10)))
	}
	r.commit()
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		var all []<-chan podEvent
		for i := range 10 {
			all = append(all, ByIndex[*corev1.Pod](r.view, "node", fmt.Sprint("node-", i)).Events(ctx))
		}
		take(t, all[3]).Done(nil)
		cancel()
		for _, events := range all {
			expectClosed(t, events)
		}
	}
	h := r.view.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs)+len(h.all.subs)+len(h.late) != 0 || len(h.routes) != 1 || len(h.routes[0].values) != 0 {
		t.Errorf("%d subscribers, %d routes, %d values", len(h.subs), len(h.routes), len(h.routes[0].values))
	}
}
