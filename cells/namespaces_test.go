// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/resource"
)

// outside forbids requests for pods outside of the namespaces, as Roles do.
func outside(api *fakeapi.Server, allowed func(namespace string) bool) {
	api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "pods" && !allowed(r.Namespace) {
			return forbidden(r)
		}
		return nil
	})
}

// Permissions in the namespaces are enough, for each kind of client.
func TestInNamespaces(t *testing.T) {
	t.Run("by type", func(t *testing.T) { inNamespaces[*corev1.Pod](t) })
	t.Run("unstructured", func(t *testing.T) { inNamespaces[*unstructured.Unstructured](t, Unstructured("pods.v1.")) })
	t.Run("metadata", func(t *testing.T) { inNamespaces[*metav1.PartialObjectMetadata](t, Metadata("pods.v1.")) })
}

func inNamespaces[T runtime.Object](t *testing.T, opts ...Option) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(pod("a", "x"), pod("b", "x", "app", "web"), pod("b", "y"), pod("c", "x"), pod("d", "x")); err != nil {
			t.Fatal(err)
		}
		outside(api, func(namespace string) bool { return strings.Contains("abc", namespace) && namespace != "" })
		set, err := namespaces.NewSet("a", "b")
		if err != nil {
			t.Fatal(err)
		}
		type web resource.Resource[T]
		err = run(t, quiet(), nil, withFake(api),
			Resource[T](append([]Option{InNamespaceSet(set)}, opts...)...),
			ResourceAs(func(r resource.Resource[T]) web { return r }, append([]Option{InNamespaces("c", "b", "b"), WithLabelSelector("app=web")}, opts...)...),
			cell.Invoke(func(lc cell.Lifecycle, r resource.Resource[T], w web, all *Resources) {
				lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
					s := storeOf(t, t.Context(), r)
					expect(t, keys(s), "a/x", "b/x", "b/y")
					expect(t, keys(storeOf(t, t.Context(), resource.Resource[T](w))), "b/x")
					if err := set.Set("b", "c"); err != nil {
						return err
					}
					synctest.Wait()
					expect(t, keys(s), "b/x", "b/y", "c/x")
					var scopes []string
					for _, f := range all.All() {
						scopes = append(scopes, f.Scope+": "+f.Status)
					}
					expect(t, scopes, fmt.Sprintf("%s in a set of namespaces: synced, 2 namespaces", scopeOf(t, opts, reflect.TypeFor[T]())),
						fmt.Sprintf("%s in namespaces b, c with labels app=web: synced, 2 namespaces", scopeOf(t, opts, reflect.TypeFor[T]())))
					return nil
				}})
			}))
		if err != nil {
			t.Error(err)
		}
	})
}

func scopeOf(t *testing.T, opts []Option, typ reflect.Type) string {
	s, err := gather(opts).scope(typ)
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

// The log, health, the page and the error of Store name the namespace that is forbidden. The
// others work.
func TestForbiddenNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(pod("a", "x"), pod("b", "x")); err != nil {
			t.Fatal(err)
		}
		outside(api, func(namespace string) bool { return namespace == "a" })
		health := newHealthLog()
		var log bytes.Buffer
		err := run(t, slog.New(slog.NewTextHandler(&log, nil)), nil, withFake(api), cell.Provide(func() cell.Health { return health }),
			Resource[*corev1.Pod](InNamespaces("a", "b", "c")),
			cell.Invoke(func(lc cell.Lifecycle, r resource.Resource[*corev1.Pod], all *Resources) {
				lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					_, err := r.Store(ctx)
					why := (*resource.NotSyncedError)(nil)
					if !errors.As(err, &why) || why.Cause != informer.CauseForbidden || !strings.Contains(err.Error(), "Pod.v1 in namespace b: ") {
						t.Errorf("got %v", err)
					}
					f, err := all.Get("Pod.v1")
					if err != nil {
						return err
					}
					if f.Level != LevelDegraded || f.Status != "cannot list: forbidden in namespace b and another" || f.Objects != 1 || len(f.Namespaces) != 3 {
						t.Errorf("%s, %s, %d objects, %d namespaces", f.Level, f.Status, f.Objects, len(f.Namespaces))
					}
					var page bytes.Buffer
					if err := writeOne(&page, f, time.Now()); err != nil {
						return err
					}
					for _, want := range []string{"Namespaces (3)\n  b  ", "not listed yet, forbidden: list Pod.v1 in namespace b", "\n  a  watching"} {
						if !strings.Contains(page.String(), want) {
							t.Errorf("the page lacks %q:\n%s", want, &page)
						}
					}
					out, err := json.Marshal(f)
					if err != nil || !strings.Contains(string(out), `"namespaces":[{"namespace":"a","state":"watching"`) {
						t.Errorf("%s, %v", out, err)
					}

					outside(api, func(namespace string) bool { return namespace != "c" })
					time.Sleep(2 * time.Minute)
					if f, err = all.Get("Pod.v1"); err != nil || f.Status != "cannot list: forbidden in namespace c" {
						t.Errorf("%s, %v", f.Status, err)
					}
					outside(api, func(string) bool { return true })
					time.Sleep(2 * time.Minute)
					if f, err = all.Get("Pod.v1"); err != nil || f.Status != "synced, 3 namespaces" || f.Level != LevelOK || !f.Synced {
						t.Errorf("%s, %v", f.Status, err)
					}
					return nil
				}})
			}))
		if err != nil {
			t.Error(err)
		}
		if want := "resource=Pod.v1 namespace=b"; !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
		var said []string
		for len(health.lines) > 0 {
			line, _, _ := strings.Cut(<-health.lines, ": pods ")
			said = append(said, strings.SplitN(line, ": list", 2)[0])
		}
		if len(said) > 7 || said[0] != "Pod.v1 Degraded: cannot list: forbidden in namespace b" && said[0] != "Pod.v1 Degraded: cannot list: forbidden in namespace c" {
			t.Errorf("health says %q", said)
		}
	})
}

// An added namespace does not end the sync, and is shown until it is listed. A failing one that
// is removed no longer counts.
func TestHealthOfASet(t *testing.T) {
	at := func(namespace string, passes uint64, err error) informer.ReflectorInfo {
		info := informer.ReflectorInfo{Name: "r", Namespace: namespace, Passes: passes, Err: err}
		if err != nil {
			info.Cause = informer.CauseForbidden
		}
		return info
	}
	denied := errors.New("denied")
	health := newHealthLog()
	r := &reporter{health: health}
	for i, step := range []struct {
		info informer.ReflectorInfo
		o    informer.ReflectorEvent
		says string
	}{
		{at("", 0, nil), informer.NamespacesChanged{Added: []string{"a", "b"}, Count: 2}, ""},
		{at("a", 1, nil), informer.ListDone{}, ""},
		{at("b", 0, denied), informer.BackingOff{}, " Degraded: cannot list or watch: forbidden in namespace b: denied"},
		{at("a", 2, nil), informer.ListDone{}, ""},
		{at("b", 0, denied), informer.BackingOff{}, ""},
		{at("", 0, nil), informer.NamespacesChanged{Removed: []string{"b"}, Count: 1}, " OK: synced, 1 namespace"},
		{at("b", 0, denied), informer.ListFailed{}, ""},
		{at("a", 3, nil), informer.ListDone{}, ""},
		{at("", 0, nil), informer.NamespacesChanged{Added: []string{"c"}, Count: 2}, " OK: synced, 2 namespaces, 1 not listed yet"},
		{at("c", 1, nil), informer.ListDone{}, " OK: synced, 2 namespaces"},
		{at("", 0, nil), informer.NamespacesChanged{Removed: []string{"a", "c"}}, " OK: synced, 0 namespaces"},
	} {
		r.Observe(step.info, step.o)
		got := ""
		if len(health.lines) > 0 {
			got = <-health.lines
		}
		if got != step.says || len(health.lines) > 0 {
			t.Errorf("step %d: got %q, want %q", i, got, step.says)
		}
	}
}

// Options that do not go together, names that are invalid, and kinds without namespaces.
func TestInNamespacesErrors(t *testing.T) {
	var set namespaces.Set
	for want, opts := range map[string][]Option{
		`cells.InNamespaces: "B" is not the name of a namespace: `:                                {InNamespaces("a", "B")},
		"cells.InNamespaceSet: the set is nil":                                                    {InNamespaceSet(nil)},
		"cells.InNamespace does not go with cells.InNamespaces":                                   {InNamespaces("a"), InNamespace("b")},
		"cells.InNamespaces or cells.InNamespaceSet was given before: give one of them, once":     {InNamespaces("a"), InNamespaceSet(&set)},
		"cells.Record records the requests of one namespace: leave out cells.Record, or select o": {InNamespaces("a"), Record("file")},
	} {
		if err := run(t, quiet(), nil, withFake(fakeapi.New()), Resource[*corev1.Pod](opts...), cell.Invoke(func(resource.Resource[*corev1.Pod]) {})); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	_, err := NewMirror("pods", Params{}, mirror.InformerConfig[*corev1.Pod]{}, InNamespaces("a"))
	_, pushErr := NewPush("pods", Params{}, push.BatcherConfig[*corev1.Pod]{}, InNamespaces("a"))
	for _, err := range []error{err, pushErr} {
		if !errors.Is(err, errSet) {
			t.Errorf("got %v", err)
		}
	}
	err = run(t, quiet(), nil, withFake(fakeapi.New()), Resource[*corev1.Node](InNamespaces("a"), impatient()),
		atStart(t, func(_ context.Context, r resource.Resource[*corev1.Node]) error {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := r.Store(ctx)
			if want := "Node.v1 has no namespaces: leave out cells.InNamespaces"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			return nil
		}))
	if err != nil {
		t.Error(err)
	}
	if got := setText(strings.Split("abcdefghijkl", "")); got != "in namespaces a, b, c, d, e, f, g, h, i, j and 2 more" || setText(nil) != "in no namespace" {
		t.Errorf("got %q", got)
	}
}
