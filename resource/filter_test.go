// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

func onNode(node string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeName = node }
}

func local(p *corev1.Pod) bool { return p.Spec.NodeName == "here" }

func TestFilterEnterAndLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		here := Filter[*corev1.Pod](r.view, local)
		events := here.Events(t.Context())
		r.begin()
		r.upsert("a", onNode("here"))
		r.upsert("b")
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		r.upsert("b", onNode("here"))
		expect(t, events, "upsert b@4")
		r.upsert("a", onNode("there"))
		expect(t, events, "delete a@1")
		r.upsert("a", onNode("elsewhere"))
		nothing(t, events)
		r.delete("a")
		nothing(t, events)

		late := here.Events(t.Context())
		expect(t, late, "upsert b@4", "sync")
		nothing(t, late)

		s, err := here.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if keys := maps.Collect(s.All()); len(keys) != 1 || len(slices.Collect(s.IterKeys())) != 1 || len(s.List()) != 1 {
			t.Fatalf("the store has %v", keys)
		}
		r.upsert("c", onNode("there"))
		if _, exists, _ := s.Get(pod("c", "", 0)); exists {
			t.Fatal("the store has an object that the filter does not keep")
		}
	})
}

func TestFilterLeaveAndRetry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		events := Filter[*corev1.Pod](r.view, local).Events(t.Context(), after(time.Second))
		r.begin()
		r.upsert("a", onNode("here"))
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		r.upsert("a")
		e := take(t, events)
		if text(e) != "delete a@1" {
			t.Fatal(text(e))
		}
		e.Done(errTest)
		time.Sleep(time.Second)
		e = take(t, events)
		if text(e) != "delete a@1" {
			t.Fatal(text(e))
		}
		r.upsert("a", onNode("here"))
		e.Done(errTest)
		expect(t, events, "upsert a@4") // the Delete is being retried: the Upsert alone
		r.upsert("a")
		expect(t, events, "delete a@4")
		nothing(t, events)
	})
}

func TestFilterOfFilter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		both := Filter(Filter[*corev1.Pod](r.view, local), func(p *corev1.Pod) bool { return p.Name != "b" })
		events := both.Events(t.Context())
		r.begin()
		r.upsert("a", onNode("here"))
		r.upsert("b", onNode("here"))
		r.upsert("c")
		r.commit()
		expect(t, events, "upsert a@1", "sync")
		nothing(t, events)
	})
}

// A filter runs without a lock: it may use the resource.
func TestFilterMayUseTheResource(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.view.want()
		r.sync("a")
		s, err := r.view.Store(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		nosy := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
			r.view.Stats()
			_, exists, _ := s.Get(p)
			return exists
		})
		events := nosy.Events(t.Context())
		expect(t, events, "upsert a@1", "sync")
		r.upsert("b")
		expect(t, events, "upsert b@3")
	})
}

// Subscribing while filters are asked must not let anything slip.
func TestFilterWhileSubscribing(t *testing.T) {
	for range 50 {
		bubble(t, func(t *testing.T) {
			r := startRig(t)
			r.view.want()
			r.sync()
			inside, subscribed := make(chan struct{}), make(chan struct{})
			first := true
			slow := Filter[*corev1.Pod](r.view, func(*corev1.Pod) bool {
				if first {
					first = false
					close(inside)
					<-subscribed
				}
				return true
			})
			expect(t, slow.Events(t.Context()), "sync")
			var late <-chan Event[*corev1.Pod]
			go func() {
				<-inside
				late = Filter[*corev1.Pod](r.view, local).Events(t.Context())
				close(subscribed)
			}()
			r.upsert("a", onNode("here"))
			synctest.Wait()
			expectSet(t, late, "sync", "upsert a@2")
			nothing(t, late)
		})
	}
}

func catch(f func()) (caught any) {
	defer func() { caught = recover() }()
	f()
	return nil
}

// One call of IndexKeys shows one state, filtered or not.
func TestFilteredIndexKeysAreOneState(t *testing.T) {
	r := startRig(t, WithIndexers(cache.Indexers{"node": func(obj any) ([]string, error) {
		return []string{obj.(*corev1.Pod).Spec.NodeName}, nil
	}}))
	r.view.want()
	r.begin()
	r.upsert("a", onNode("here"))
	r.upsert("b", onNode("here"))
	r.commit()
	asked := 0
	s, err := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
		if asked++; asked == 1 {
			r.upsert("a", onNode("there"))
			r.delete("b")
		}
		return true
	}).Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := s.IndexKeys("node", "here")
	if err != nil || len(keys) != 2 {
		t.Fatalf("got %v, %v", keys, err)
	}
}

// The result of the filter for a replayed state is valid only for this state.
func TestFilterOfWhatChangesDuringReplay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := startRig(t)
		r.view.want()
		r.begin()
		r.upsert("a", onNode("here"))
		r.commit()
		asked, release := make(chan struct{}), make(chan struct{})
		events := Filter[*corev1.Pod](r.view, func(p *corev1.Pod) bool {
			if p.ResourceVersion == "1" {
				close(asked)
				<-release
			}
			return local(p)
		}).Events(t.Context())
		<-asked
		r.upsert("a", onNode("there"))
		close(release)
		expect(t, events, "sync")
		nothing(t, events)
	})
}
