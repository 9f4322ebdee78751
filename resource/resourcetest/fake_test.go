// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/store"
)

type pods = resourcetest.Fake[*corev1.Pod]

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
}

func key(name string) store.Key { return store.Key{Namespace: "ns", Name: name} }

// follow returns a function that returns what the events of r were since the last
// call. It must be called in a bubble.
func follow(t testing.TB, r resource.Resource[*corev1.Pod]) func() string {
	events := r.Events(t.Context())
	return func() string {
		var got []string
		for {
			synctest.Wait()
			select {
			case e := <-events:
				s := string(e.Kind)
				if e.Object != nil {
					s += " " + e.Key.Name + "@" + e.Object.ResourceVersion
				}
				got = append(got, s)
				e.Done(nil)
			default:
				return strings.Join(got, ", ")
			}
		}
	}
}

func is(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// bubble runs f in a bubble, once with streamed and once with paged lists.
func bubble(t *testing.T, f func(t *testing.T, fake *pods, paged bool)) {
	for _, paged := range []bool{false, true} {
		t.Run(map[bool]string{false: "streamed", true: "paged"}[paged], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settings := resourcetest.Settings()
				if paged {
					settings.Lists, settings.PageSize = informer.ListPaged, 2
				}
				f(t, resourcetest.New[*corev1.Pod](t, resource.WithSettings(settings)), paged)
			})
		})
	}
}

func TestBeforeAndAfterSync(t *testing.T) {
	bubble(t, func(t *testing.T, fake *pods, paged bool) {
		fake.Upsert(pod("a"))
		events := follow(t, fake.Resource())
		if !paged {
			is(t, events(), "upsert a@2")
			fake.Upsert(pod("b"))
			fake.Upsert(pod("a"))
			is(t, events(), "upsert b@3, upsert a@4")
			fake.Delete(key("b"))
			is(t, events(), "delete b@3")
			fake.Sync()
			is(t, events(), "sync")
		} else {
			is(t, events(), "")
			fake.Upsert(pod("b"))
			fake.Upsert(pod("a"))
			fake.Delete(key("b"))
			is(t, events(), "")
			fake.Sync()
			is(t, events(), "upsert a@4, sync")
		}
		fake.Sync()
		fake.Upsert(pod("c"))
		is(t, events(), "upsert c@6")
		fake.Delete(key("c"))
		is(t, events(), "delete c@6")
	})
}

// An upsert after Sync is a change, also if no subscriber has received anything yet.
func TestChangesComeAfterSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var objects []int
		fake := resourcetest.New[*corev1.Pod](t, resource.WithObserver(informer.ObserverFunc(
			func(_ informer.ReflectorInfo, o informer.Occurrence) {
				if done, ok := o.(informer.ListDone); ok {
					objects = append(objects, done.Objects)
				}
			})))
		events := follow(t, fake.Resource())
		is(t, events(), "")
		fake.Upsert(pod("a"))
		fake.Sync()
		fake.Upsert(pod("b"))
		synctest.Wait()
		if !slices.Equal(objects, []int{1}) {
			t.Errorf("passes of %v objects, want one of 1", objects)
		}
	})
}

func TestPages(t *testing.T) {
	bubble(t, func(t *testing.T, fake *pods, paged bool) {
		for i := range 5 {
			fake.Upsert(pod(fmt.Sprint(i)))
		}
		fake.Sync()
		is(t, follow(t, fake.Resource())(), "upsert 0@2, upsert 1@3, upsert 2@4, upsert 3@5, upsert 4@6, sync")
		want := resourcetest.Requests{Watches: 1}
		if paged {
			want.Lists = 3
		}
		if got := fake.Requests(); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

func TestDisconnectResumes(t *testing.T) {
	bubble(t, func(t *testing.T, fake *pods, _ bool) {
		fake.Upsert(pod("a"))
		fake.Sync()
		events := follow(t, fake.Resource())
		is(t, events(), "upsert a@2, sync")
		before := fake.Requests()
		for i, err := range []error{nil, errors.New("connection reset by peer")} {
			fake.Disconnect(err)
			fake.Upsert(pod("b"))
			time.Sleep(time.Second)
			is(t, events(), fmt.Sprintf("upsert b@%d", 3+i))
		}
		after := fake.Requests()
		if after.Lists != before.Lists || after.Watches != before.Watches+2 {
			t.Errorf("%+v, then %+v", before, after)
		}
	})
}

func TestExpireRelists(t *testing.T) {
	bubble(t, func(t *testing.T, fake *pods, paged bool) {
		fake.Upsert(pod("a"))
		fake.Upsert(pod("b"))
		fake.Sync()
		events := follow(t, fake.Resource())
		is(t, events(), "upsert a@2, upsert b@3, sync")
		before := fake.Requests()
		fake.Expire()
		fake.Delete(key("a"))
		fake.Upsert(pod("c"))
		time.Sleep(time.Second)
		// The list may have been made before c was there; c comes by the watch then.
		got := strings.Split(events(), ", ")
		slices.Sort(got)
		is(t, strings.Join(got, ", "), "delete a@2, upsert c@6")
		after := fake.Requests()
		if after == before || (after.Lists != before.Lists) != paged {
			t.Errorf("%+v, then %+v", before, after)
		}
	})
}

func byName(read resource.Store[*corev1.Pod]) map[string]*corev1.Pod {
	objs := map[string]*corev1.Pod{}
	for key, obj := range read.All() {
		objs[key.Name] = obj
	}
	return objs
}

// Expire between two pages.
func TestExpiredContinueToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fake *pods
		var once bool
		settings := resourcetest.Settings()
		settings.Lists, settings.PageSize = informer.ListPaged, 2
		var failed []error
		fake = resourcetest.New[*corev1.Pod](t, resource.WithSettings(settings), resource.WithObserver(informer.ObserverFunc(
			func(_ informer.ReflectorInfo, o informer.Occurrence) {
				switch o := o.(type) {
				case informer.PageRead:
					if !once {
						once = true
						fake.Delete(key("0"))
						fake.Expire()
					}
				case informer.ListFailed:
					failed = append(failed, o.Err)
				}
			})))
		for i := range 3 {
			fake.Upsert(pod(fmt.Sprint(i)))
		}
		fake.Sync()
		read, err := fake.Resource().Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		is(t, strings.Join(slices.Sorted(maps.Keys(byName(read))), ", "), "1, 2")
		if len(failed) != 1 || !apierrors.IsResourceExpired(failed[0]) {
			t.Errorf("failed passes: %v", failed)
		}
	})
}

func TestFail(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no"))
	bubble(t, func(t *testing.T, fake *pods, _ bool) {
		fake.Fail(forbidden)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := fake.Resource().Store(ctx)
		var notSynced *resource.NotSyncedError
		if !errors.As(err, &notSynced) || notSynced.Cause != informer.CauseForbidden {
			t.Errorf("Store: %v", err)
		}

		fake.Upsert(pod("a"))
		fake.Fail(nil)
		fake.Sync()
		read, err := fake.Resource().Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		is(t, fmt.Sprint(len(read.List())), "1")

		fake.Fail(errors.New("connection reset by peer"))
		fake.Upsert(pod("b"))
		time.Sleep(time.Second)
		is(t, fmt.Sprint(len(read.List())), "1")
		fake.Fail(nil)
		if err := fake.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		is(t, fmt.Sprint(len(read.List())), "2")
	})
}

func TestUIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := resourcetest.New[*corev1.Pod](t)
		fake.Sync()
		events := follow(t, fake.Resource())
		is(t, events(), "sync")
		first := fake.Upsert(pod("a"))
		if first.UID == "" {
			t.Fatal("no UID")
		}
		is(t, events(), "upsert a@2")
		if again := fake.Upsert(pod("a")); again.UID != first.UID {
			t.Errorf("the UID changed from %q to %q", first.UID, again.UID)
		}
		is(t, events(), "upsert a@3")

		fake.Delete(key("a"))
		second := fake.Upsert(first)
		if second.UID == first.UID || second.UID == "" {
			t.Errorf("another incarnation has UID %q, the one before %q", second.UID, first.UID)
		}
		is(t, events(), "delete a@3, upsert a@5")

		second.UID = "given"
		if third := fake.Upsert(second); third.UID != "given" {
			t.Errorf("the UID is %q", third.UID)
		}
		is(t, events(), "delete a@5, upsert a@7")

		// An upsert with the UID of a deleted object does not restore that object.
		if fourth := fake.Upsert(first); fourth.UID != "given" {
			t.Errorf("the UID is %q", fourth.UID)
		}
		is(t, events(), "upsert a@8")
	})
}

func TestObjectsAreCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := resourcetest.New[*corev1.Pod](t)
		fake.Sync()
		mine := pod("a")
		stored := fake.Upsert(mine)
		if mine.ResourceVersion != "" {
			t.Error("Upsert changed what it was given")
		}
		stored.Name, mine.Name = "b", "c"
		read, err := fake.Resource().Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held, _, _ := read.GetByKey(key("a"))
		is(t, held.Name, "a")
		held.Name = "d" // which is forbidden
		is(t, fake.Delete(key("a")).Name, "a")
	})
}

func TestMistakesFailTheTest(t *testing.T) {
	tb := &recorder{TB: t}
	fake := resourcetest.New[*corev1.Pod](tb)
	defer tb.end()
	fake.Upsert(pod("a"))
	fake.Delete(key("b"))
	fake.Upsert(pod(""))
	want := []string{
		`resourcetest: Delete: there is no object "ns/b"; the objects are ["ns/a"]`,
		`resourcetest: Upsert: the object (*v1.Pod) has no name`,
	}
	if !slices.Equal(tb.errors, want) {
		t.Errorf("got %q", tb.errors)
	}

	bad := &recorder{TB: t}
	resourcetest.New[*corev1.Pod](bad, resource.WithTransform(func(p *corev1.Pod) (*corev1.Pod, error) { return p, nil }))
	if len(bad.errors) != 1 || !strings.Contains(bad.errors[0], "transform") {
		t.Errorf("got %q", bad.errors)
	}
}

func TestNewOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lc := &cell.DefaultLifecycle{}
		fake := resourcetest.NewOn[*corev1.Pod](t, lc)
		events := follow(t, fake.Resource())
		fake.Upsert(pod("a"))
		fake.Sync()
		fake.Upsert(pod("b"))
		is(t, events(), "")
		if err := lc.Start(discard(), t.Context()); err != nil {
			t.Fatal(err)
		}
		is(t, events(), "upsert a@2, upsert b@3, sync")
		if err := lc.Stop(discard(), t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// Any type of object will do, with or without a namespace.
func TestOtherTypes(t *testing.T) {
	fake := resourcetest.New[*corev1.Node](t, resource.WithName("nodes"))
	fake.Upsert(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
	fake.Sync()
	read, err := fake.Resource().Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, exists, _ := read.GetByKey(store.Key{Name: "n"}); !exists {
		t.Error("the node is missing")
	}
	var _ runtime.Object = fake.Delete(store.Key{Name: "n"})
}
