// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
)

var (
	anyNamespace = rapid.SampledFrom([]string{"", "a", "b", "c"})
	anyLabel     = rapid.SampledFrom([]string{"app", "tier", "example.com/zone"})
	anyValue     = rapid.SampledFrom([]string{"", "1", "2", "3"})
	anyOperator  = rapid.SampledFrom([]selection.Operator{
		selection.Equals, selection.DoubleEquals, selection.In, selection.NotEquals, selection.NotIn,
		selection.Exists, selection.DoesNotExist, selection.GreaterThan, selection.LessThan,
	})
)

func anyPod(t *rapid.T, version int) *corev1.Pod {
	p := labelled(rapid.StringMatching(`[a-d]`).Draw(t, "name"))
	p.Namespace = anyNamespace.Draw(t, "namespace")
	p.ResourceVersion = strconv.Itoa(version)
	p.Labels = rapid.MapOf(anyLabel, anyValue).Draw(t, "labels")
	return p
}

func anySelector(t *rapid.T) labels.Selector {
	sel := labels.NewSelector()
	for range rapid.IntRange(0, 3).Draw(t, "requirements") {
		op := anyOperator.Draw(t, "operator")
		var values []string
		switch op {
		case selection.Exists, selection.DoesNotExist:
		case selection.In, selection.NotIn:
			values = rapid.SliceOfN(anyValue, 1, 3).Draw(t, "values")
		case selection.GreaterThan, selection.LessThan:
			values = []string{"2"}
		default:
			values = []string{anyValue.Draw(t, "value")}
		}
		r, err := labels.NewRequirement(anyLabel.Draw(t, "label"), op, values)
		if err != nil {
			t.Fatal(err)
		}
		sel = sel.Add(*r)
	}
	return sel
}

// A lister has what filtering all objects one by one has, whatever is indexed.
func TestListerModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := podStore(t)
		listers := []store.Lister[*corev1.Pod]{lister(t, s)}
		version := 0
		rt.Repeat(map[string]func(*rapid.T){
			"apply": func(rt *rapid.T) {
				version++
				_ = apply(s, anyPod(rt, version))
			},
			"delete": func(rt *rapid.T) {
				version++
				_ = s.Delete(ctx, store.MetaOf(anyPod(rt, version)), nil, false)
			},
			"index": func(rt *rapid.T) {
				listers = append(listers, lister(t, s, rapid.SliceOf(anyLabel).Draw(rt, "indexed")...))
			},
			"": func(rt *rapid.T) {
				sel, namespace := anySelector(rt), anyNamespace.Draw(rt, "in")
				keep := func(p *corev1.Pod) bool { return p.Name != "b" }
				var want []*corev1.Pod
				for _, p := range s.All() {
					if (namespace == "" || p.Namespace == namespace) && sel.Matches(labels.Set(p.Labels)) && keep(p) {
						want = append(want, p)
					}
				}
				for _, l := range listers {
					if got := podKeys(l.In(namespace).Where(keep).List(sel)); got != podKeys(want) {
						rt.Fatalf("%q in %q: got %s, want %s", sel, namespace, got, podKeys(want))
					}
				}
			},
		})
	})
}

// looked is an object that counts how often its metadata is asked for.
type looked struct {
	metav1.ObjectMeta
	namespaces, labels *int
}

func (o *looked) GetNamespace() string {
	*o.namespaces++
	return o.ObjectMeta.Namespace
}

func (o *looked) GetLabels() map[string]string {
	*o.labels++
	return o.ObjectMeta.Labels
}

// A lister looks at what the narrowest index has, and at nothing for nothing.
func TestListerLooksAtFew(t *testing.T) {
	s, err := store.New(store.Config[*looked]{})
	if err != nil {
		t.Fatal(err)
	}
	var namespaces, labelSets int
	for i := range 1000 {
		p := labelled(fmt.Sprintf("ns-%d/%d", i%20, i), fmt.Sprintf("app=%d", i%100), fmt.Sprintf("half=%d", i%2))
		o := &looked{p.ObjectMeta, &namespaces, &labelSets}
		_ = s.Apply(ctx, store.MetaOf(p), o)
	}
	l, err := store.NewLister(s, podResource, "app", "half", "absent")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		namespace string
		selector  labels.Selector
		want      int
	}{
		{"", selector(t, "app=7"), 10},
		{"", selector(t, "app in (7,8,none)"), 20},
		{"", selector(t, "half=1,app=7"), 10},
		{"", selector(t, "half=1"), 500},
		{"", selector(t, "half=1,app!=7"), 500},
		{"ns-7", nil, 0},
		{"ns-7", selector(t, "half=1"), 50},
		{"ns-7", selector(t, "app=8"), 10},
		{"ns-7", selector(t, "app!=8"), 50},
		{"none", selector(t, "half=1"), 0},
		{"", selector(t, "app=none"), 0},
		{"", selector(t, "absent="), 0},
		{"", selector(t, "app"), 1000},
		{"", nil, 0},
		{"", labels.Nothing(), 0},
	} {
		namespaces, labelSets = 0, 0
		l.In(tt.namespace).List(tt.selector)
		if n := max(namespaces, labelSets); n != tt.want {
			t.Errorf("%v in %q: looked at %d, want %d", tt.selector, tt.namespace, n, tt.want)
		}
	}
}

// A list is of one point in time also if it is put together from several values
// of an index: a pod that goes round them is always in it, and once.
func TestListerOnePointInTime(t *testing.T) {
	s := podStore(t, labelled("ns/a", "app=0"), labelled("ns/b", "app=1"))
	l := lister(t, s, "app")
	sel := selector(t, "app in (0,1,2)")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for stopped := false; !stopped; {
				select {
				case <-done:
					stopped = true
				default:
				}
				if got := podKeys(l.List(sel)); got != "ns/a ns/b" {
					t.Errorf("List: %s", got)
					return
				}
				if objs, err := l.ByIndex("label:app", "2", "1", "0"); podKeys(objs) != "ns/a ns/b" || err != nil {
					t.Errorf("ByIndex: %s, %v", podKeys(objs), err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		p := labelled([]string{"ns/a", "ns/b"}[i%2], fmt.Sprintf("app=%d", i%3))
		p.ResourceVersion = strconv.Itoa(i + 10)
		if err := apply(s, p); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}
