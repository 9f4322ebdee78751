// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func named(name string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	obj.SetName(name)
	return obj
}

// A watch that is behind keeps a bounded number of states: the oldest ones, of which one
// may be in evaluation, and the newest one of each object.
func TestBacklogIsBounded(t *testing.T) {
	w := &Watch{}
	var busy backlog
	for i := range 3 * maxBehind {
		w.push(&busy, state{obj: named(fmt.Sprint(i)), received: true})
	}
	newest := busy.next[len(busy.next)-1].obj.GetName()
	if len(busy.next) != maxBehind || w.behind != maxBehind || newest != fmt.Sprint(3*maxBehind-1) || busy.next[maxBehind-2].obj.GetName() != fmt.Sprint(maxBehind-2) {
		t.Errorf("%d states are kept, %d are counted, the newest is %s", len(busy.next), w.behind, newest)
	}
	var other backlog
	for _, name := range []string{"a", "b", "c"} {
		w.push(&other, state{obj: named(name)})
	}
	if len(other.next) != 2 || other.next[0].obj.GetName() != "a" || other.next[1].obj.GetName() != "c" {
		t.Errorf("of another object %v is kept", other.next)
	}
	for range maxBehind {
		w.pop(&busy)
	}
	w.drop(&other)
	if w.behind != 0 || busy.next != nil || busy.last.GetName() != newest {
		t.Errorf("%d states are counted in the end, %v was the last", w.behind, busy.last)
	}
}

// A consumer that is behind has a bounded number of statuses to take, the newest one of
// each object among them.
func TestUpdatesAreBounded(t *testing.T) {
	w := &Watch{updated: make(chan struct{}, 1), latest: map[ID]*tracked{}}
	a, b := &tracked{id: ID{Name: "a"}}, &tracked{id: ID{Name: "b"}}
	for i := range 3 * maxBehind {
		w.publish(a, ObjectStatus{ID: a.id, Message: fmt.Sprint(i)}, false)
	}
	for _, message := range []string{"old", "new"} {
		w.publish(b, ObjectStatus{ID: b.id, Message: message}, false)
	}
	var got []string
	for {
		ev, ok := w.take()
		if !ok {
			break
		}
		got = append(got, ev.Resource.ID.Name+ev.Resource.Message)
	}
	want := []string{"a0", fmt.Sprint("a", 3*maxBehind-1), "bnew"}
	if n := len(got); n != maxBehind+1 || got[0] != want[0] || got[n-2] != want[1] || got[n-1] != want[2] {
		t.Errorf("%d statuses are kept, the last ones are %q: want %q", n, got[n-2:], want)
	}
	if w.updates != nil || a.newest != nil || b.newest != nil {
		t.Error("statuses are kept that were taken")
	}
}
