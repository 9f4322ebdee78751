// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/store"
)

var podResource = schema.GroupResource{Resource: "pods"}

// labelled makes a pod of "namespace/name" or "name" and "key=value" labels.
func labelled(key string, pairs ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: key, ResourceVersion: "1"}}
	if namespace, name, ok := strings.Cut(key, "/"); ok {
		p.Namespace, p.Name = namespace, name
	}
	for _, pair := range pairs {
		k, v, _ := strings.Cut(pair, "=")
		metav1.SetMetaDataLabel(&p.ObjectMeta, k, v)
	}
	return p
}

func podStore(t testing.TB, pods ...*corev1.Pod) *store.Store[*corev1.Pod] {
	t.Helper()
	s, err := store.New(store.Config[*corev1.Pod]{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pods {
		if err := apply(s, p); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func lister(t testing.TB, s *store.Store[*corev1.Pod], labelKeys ...string) store.Lister[*corev1.Pod] {
	t.Helper()
	l, err := store.NewLister(s, podResource, labelKeys...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func selector(t testing.TB, s string) labels.Selector {
	t.Helper()
	sel, err := labels.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// podKeys returns the sorted keys.
func podKeys(pods []*corev1.Pod) string {
	var keys []string
	for _, p := range pods {
		keys = append(keys, store.KeyOf(p).String())
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func TestLister(t *testing.T) {
	s := podStore(t, labelled("node"), labelled("a/1", "app=web", "tier=front"), labelled("a/2", "app=db"), labelled("a/3"),
		labelled("b/1", "app=web"), labelled("b/2", "app="))
	all := lister(t, s, "app")
	odd := func(p *corev1.Pod) bool { return p.Name != "2" }
	for _, tt := range []struct {
		name     string
		lister   store.Lister[*corev1.Pod]
		selector labels.Selector
		want     string
	}{
		{"nil", all, nil, "a/1 a/2 a/3 b/1 b/2 node"},
		{"everything", all, labels.Everything(), "a/1 a/2 a/3 b/1 b/2 node"},
		{"nothing", all, labels.Nothing(), ""},
		{"a namespace", all.In("a"), nil, "a/1 a/2 a/3"},
		{"no such namespace", all.In("c"), nil, ""},
		{"another namespace", all.In("a").In("b"), nil, "b/1 b/2"},
		{"all namespaces again", all.In("a").In(""), nil, "a/1 a/2 a/3 b/1 b/2 node"},
		{"equals", all, selector(t, "app=web"), "a/1 b/1"},
		{"equals in a namespace", all.In("a"), selector(t, "app==web"), "a/1"},
		{"no value", all, selector(t, "app="), "b/2"},
		{"in", all, selector(t, "app in (web,db)"), "a/1 a/2 b/1"},
		{"not equal", all, selector(t, "app!=web"), "a/2 a/3 b/2 node"},
		{"not in", all, selector(t, "app notin (web,db)"), "a/3 b/2 node"},
		{"absent", all, selector(t, "!app"), "a/3 node"},
		{"present", all, selector(t, "app"), "a/1 a/2 b/1 b/2"},
		{"not indexed", all, selector(t, "tier=front"), "a/1"},
		{"both", all, selector(t, "app=web,tier=front"), "a/1"},
		{"contradiction", all, selector(t, "app=web,app=db"), ""},
		{"where", all.Where(odd), nil, "a/1 a/3 b/1 node"},
		{"where and all else", all.In("a").Where(odd), selector(t, "app"), "a/1"},
		{"where twice", all.Where(odd).Where(func(p *corev1.Pod) bool { return p.Name != "3" }), nil, "a/1 b/1 node"},
		{"where nil", all.Where(odd).Where(nil), selector(t, "app in (web,db)"), "a/1 b/1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := tt.lister.List(tt.selector)
			if got := podKeys(list); got != tt.want || list == nil {
				t.Errorf("List: got %q, want %q", got, tt.want)
			}
			if got := podKeys(slices.Collect(tt.lister.All(tt.selector))); got != tt.want {
				t.Errorf("All: got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestListerGet(t *testing.T) {
	s := podStore(t, labelled("node"), labelled("a/1"), labelled("b/1"))
	l := lister(t, s)
	if p, err := l.Get("node"); err != nil || p.Name != "node" {
		t.Errorf("cluster-scoped: %v, %v", p, err)
	}
	if p, err := l.In("b").Get("1"); err != nil || p.Namespace != "b" {
		t.Errorf("in a namespace: %v, %v", p, err)
	}
	none := l.In("a").Where(func(*corev1.Pod) bool { return false })
	for name, l := range map[string]store.Lister[*corev1.Pod]{"2": l.In("a"), "1": l, "node": l.In("a"), "not kept": none} {
		if name == "not kept" {
			name = "1"
		}
		p, err := l.Get(name)
		if p != nil || !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `pods "`+name+`" not found`) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

// All shows the state of when it began, and lets its loop do as it likes.
func TestListerAllIsASnapshot(t *testing.T) {
	s := podStore(t, labelled("a/1", "app=web"), labelled("a/2", "app=web"), labelled("a/3", "app=web"))
	all := lister(t, s, "app").In("a").All(selector(t, "app=web"))
	seen := 0
	for p := range all {
		seen++
		for _, q := range s.All() {
			_ = s.Delete(ctx, store.MetaOf(q), nil, false)
		}
		_ = apply(s, labelled("a/new-"+p.Name, "app=web"))
	}
	if seen != 3 {
		t.Errorf("saw %d", seen)
	}
	for range all {
		seen++
		break
	}
	if seen != 4 {
		t.Errorf("saw %d", seen)
	}
}

func TestListerByIndex(t *testing.T) {
	s := podStore(t, labelled("a/1", "app=web", "tier=front"), labelled("b/1", "app=web"), labelled("b/2", "tier=front"), labelled("b/3"))
	l := lister(t, s)
	err := l.EnsureIndexers(store.Indexers[*corev1.Pod]{"pair": func(values []string, p *corev1.Pod) ([]string, error) {
		for k, v := range p.Labels {
			values = append(values, k+"="+v)
		}
		return values, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	notFirst := l.Where(func(p *corev1.Pod) bool { return p.Name != "2" })
	for _, tt := range []struct {
		lister store.Lister[*corev1.Pod]
		values []string
		want   string
	}{
		{l, []string{"app=web"}, "a/1 b/1"},
		{l, []string{"app=web", "tier=front", "none", "app=web"}, "a/1 b/1 b/2"},
		{l.In("b"), []string{"app=web", "tier=front"}, "b/1 b/2"},
		{notFirst.In("b"), []string{"tier=front", "app=web"}, "b/1"},
		{l, []string{"none"}, ""},
		{l, nil, ""},
	} {
		objs, err := tt.lister.ByIndex("pair", tt.values...)
		if got := podKeys(objs); got != tt.want || err != nil || objs == nil {
			t.Errorf("%q: got %q, %v; want %q", tt.values, got, err, tt.want)
		}
	}
	if objs, err := l.ByIndex("none", "x"); !errors.Is(err, store.ErrNoIndex) || objs != nil {
		t.Errorf("no index: %v, %v", objs, err)
	}
}

func TestNewListerFails(t *testing.T) {
	s := podStore(t)
	things, err := store.New(store.Config[*thing]{})
	if err != nil {
		t.Fatal(err)
	}
	_, errNil := store.NewLister[*corev1.Pod](nil, podResource)
	_, errType := store.NewLister(things, podResource)
	_, errResource := store.NewLister(s, schema.GroupResource{Group: "apps"})
	_, errKey := store.NewLister(s, podResource, "app", "not a key")
	_, errNoKey := store.NewLister(s, podResource, "")
	for want, err := range map[string]error{
		"store is nil":    errNil,
		"no API object":   errType,
		"has no name":     errResource,
		`"not a key" is `: errKey,
		`"" is not`:       errNoKey,
	} {
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "store.NewLister: ") {
			t.Errorf("%s: got %v", want, err)
		}
	}
	if n := s.Stats().Indexes; n != 0 {
		t.Errorf("%d indexes were added", n)
	}
	if err := lister(t, s).EnsureIndexers(store.Indexers[*corev1.Pod]{"x": nil}); err == nil {
		t.Error("an index without a function is none")
	}
}

// Listers share their indexes, also when they are made at the same time.
func TestListersShareIndexes(t *testing.T) {
	s := podStore(t, labelled("a/1", "app=web"), labelled("b/2", "tier=front"))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l := lister(t, s, "app", "tier")
			if got := podKeys(l.List(selector(t, "app=web"))) + podKeys(l.List(selector(t, "tier=front"))); got != "a/1b/2" {
				t.Errorf("got %q", got)
			}
		})
	}
	wg.Wait()
	names := slices.Sorted(maps.Keys(s.Indexers()))
	if !slices.Equal(names, []string{"label:app", "label:tier", "namespace"}) {
		t.Errorf("indexes: %v", names)
	}
}
