// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

// TestClientGosFake: client-go's fake clientset makes no versions. What a test writes
// keeps the one that it had, and is seen all the same, at once, as in client-go's
// informers. So are deletions, and what is created anew.
func TestClientGosFake(t *testing.T) {
	for _, version := range []string{"", "0", "1", "12345"} {
		for _, semantics := range []bool{false, true} {
			t.Run(fmt.Sprintf("version %q, list semantics %v", version, semantics), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { playFake(t, version, semantics) })
			})
		}
	}
}

func playFake(t *testing.T, version string, semantics bool) {
	pod := func(value string) *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: value}}
		p.Name, p.Namespace, p.UID, p.ResourceVersion = "x", "n", "u", version
		return p
	}
	clientset := fake.NewClientset(pod("before"))
	pods := clientset.CoreV1().Pods("n")
	listWatch := &cache.ListWatch{
		ListWithContextFunc:  func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return pods.List(ctx, o) },
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) { return pods.Watch(ctx, o) },
	}
	var lw cache.ListerWatcher = listWatch
	if semantics {
		lw = cache.ToListWatcherWithWatchListSemantics(listWatch, clientset)
	}
	_, s := followPods(t, nil, func(c *informer.Config[*corev1.Pod]) { c.Source = source.FromListerWatcher[*corev1.Pod](lw, nil) })
	elapse(time.Minute)
	ctx := t.Context()
	check := func(what, want string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := valueOf(s); got != want {
			t.Errorf("%s: x is %q, want %q", what, got, want)
		}
		elapse(10 * time.Second)
	}
	check("first", "before", nil)
	for i := range 10 { // some of them while a pass decides
		value := fmt.Sprint("update ", i)
		_, err := pods.Update(ctx, pod(value), metav1.UpdateOptions{})
		check("updated", value, err)
	}
	check("deleted", "", pods.Delete(ctx, "x", metav1.DeleteOptions{}))
	_, err := pods.Create(ctx, pod("again"), metav1.CreateOptions{})
	check("created again", "again", err)
	elapse(24 * time.Hour)
	_, err = pods.Update(ctx, pod("later"), metav1.UpdateOptions{})
	check("a day later", "later", err)
}

// TestVersionsBeginAnew: once a server whose versions have begun anew sends a change, or
// two bookmarks, the store has what the server has, what was deleted included.
func TestVersionsBeginAnew(t *testing.T) {
	for name, uids := range map[string][2]string{"same UID": {"#u", "#u"}, "other UID": {"#u", "#v"}, "no UID": {"", ""}} {
		for _, c := range []struct{ what, lines, last string }{
			{"change", "  ~x%[2]s@3\n", "[new@4 x@]"},
			{"bookmarks", "  bookmark 4\n  bookmark 4\n", "[new@4 x@5]"},
		} {
			t.Run(name+", "+c.what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := script(fmt.Sprintf("list rv=500 x%[1]s@480 gone@470\nwatch\n  after 20s\n"+c.lines+
						"list rv=4 x%[2]s@3 new@4\nwatch\n  after 10s\n  ~x%[2]s@5\n", uids[0], uids[1]))
					r, s := follow(t, server)
					content := func(after time.Duration, want string) {
						t.Helper()
						elapse(after)
						var got []string
						for m := range s.Entries() {
							got = append(got, m.String())
						}
						slices.Sort(got)
						if fmt.Sprint(got) != want || r.Info().Err != nil {
							t.Errorf("the store has %v, want %s; %+v", got, want, r.Info())
						}
					}
					content(10*time.Second, "[gone@470 x@480]")
					content(11*time.Second, "[new@4 x@3]")
					content(10*time.Second, c.last)
				})
			})
		}
	}
}

// formSource says in which form objects come.
type formSource struct {
	informer.Source[informertest.Object]
	form *atomic.Value
}

func (s formSource) List(ctx context.Context, opts metav1.ListOptions, yield func(informer.Item[informertest.Object]) error) (informer.Page, error) {
	page, err := s.Source.List(ctx, opts, yield)
	page.Form, _ = s.form.Load().(string)
	return page, err
}

func (s formSource) Watch(ctx context.Context, opts metav1.ListOptions) (informer.Stream[informertest.Object], error) {
	stream, err := s.Source.Watch(ctx, opts)
	return formStream{stream, s}, err
}

type formStream struct {
	informer.Stream[informertest.Object]
	source formSource
}

func (s formStream) Next() (informer.WatchEvent[informertest.Object], error) {
	event, err := s.Stream.Next()
	event.Form, _ = s.source.form.Load().(string)
	return event, err
}

// TestFormChanges: when objects come in another form than before, one pass hands all of
// them over again, whether an event or a list shows it.
func TestFormChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var (
			form   atomic.Value
			passes []string
		)
		form.Store("v1")
		r, s := follow(t, script(`
list rv=100 a@1 b@2
watch
  after 10s
  ~a@101
list rv=110 a@101 b@2
watch
list rv=110 a@101 b@2
list rv=110 a@101 b@2
watch
`), func(c *informer.Config[informertest.Object]) {
			c.Source = formSource{c.Source, &form}
			c.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				switch o := o.(type) {
				case informer.ListFailed:
					passes = append(passes, fmt.Sprintf("failed %s", o.Cause))
				case informer.ListDone:
					passes = append(passes, fmt.Sprintf("%s, anew %v, %d decoded", o.Pass.Reason, o.Pass.Anew, o.Decoded))
				}
			})
		})
		elapse(5 * time.Second)
		form.Store("v2")
		elapse(10 * time.Second)
		form.Store("v3")
		r.Resync(nil)
		elapse(time.Second)
		if want := []string{"first, anew false, 2 decoded", "expired, anew true, 2 decoded", "failed expired", "resync, anew true, 2 decoded"}; !slices.Equal(passes, want) {
			t.Errorf("passes %q, want %q", passes, want)
		}
		if s.Len() != 2 || r.Info().Err != nil {
			t.Errorf("%d objects, %+v", s.Len(), r.Info())
		}
	})
}
