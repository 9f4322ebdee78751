// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apiary-go/apiary/store"
)

func key(namespace, name string) store.Key {
	return store.Key{Namespace: namespace, Name: name}
}

// set reads "a=1,b=2".
func set(text string) map[string]string {
	if text == "" {
		return nil
	}
	out, err := labels.ConvertSelectorToLabelsMap(text)
	if err != nil {
		panic(err)
	}
	return out
}

func service(namespace, name, selector string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: set(selector)},
	}
}

func pod(namespace, name, podLabels string, ready bool) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: set(podLabels)},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
	if ready {
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	return p
}

// texts are the changes as a person reads them.
func texts(changes []change) []string {
	var out []string
	for _, c := range changes {
		out = append(out, fmt.Sprintf("%s: %s (%d/%d)", c.subject(), c, c.Pods.Ready, c.Pods.Total))
	}
	return out
}

func TestJoin(t *testing.T) {
	for name, test := range map[string]struct {
		before []any // objects, or keys of pods to delete
		do     func(*join) []change
		want   []string
	}{
		"service finds its pods": {
			before: []any{pod("a", "p1", "app=x", true), pod("a", "p2", "app=x,t=c", false), pod("a", "p3", "app=y", true), pod("b", "p4", "app=x", true)},
			do:     func(j *join) []change { return j.upsertService(service("a", "s", "app=x")) },
			want: []string{
				"a/s: new service, selects app=x (1/2)",
				"a/s: p1 joined: Running (1/2)",
				"a/s: p2 joined: Pending (1/2)",
			},
		},
		"no selector selects nothing": {
			before: []any{pod("a", "p1", "app=x", true), pod("a", "p2", "", true)},
			do:     func(j *join) []change { return j.upsertService(service("a", "s", "")) },
			want:   []string{"a/s: new service, selects nothing (0/0)"},
		},
		"an empty selector selects nothing": {
			before: []any{pod("a", "p1", "", true)},
			do: func(j *join) []change {
				s := service("a", "s", "")
				s.Spec.Selector = map[string]string{}
				return append(j.upsertService(s), j.upsertPod(pod("a", "p2", "app=x", true))...)
			},
			want: []string{"a/s: new service, selects nothing (0/0)"},
		},
		"an external name selects nothing": {
			before: []any{pod("a", "p1", "app=x", true)},
			do: func(j *join) []change {
				s := service("a", "s", "app=x")
				s.Spec.Type = corev1.ServiceTypeExternalName
				return j.upsertService(s)
			},
			want: []string{"a/s: new service, selects nothing (0/0)"},
		},
		"selector changes": {
			before: []any{service("a", "s", "app=x"), pod("a", "p1", "app=x", true), pod("a", "p2", "app=y", true)},
			do:     func(j *join) []change { return j.upsertService(service("a", "s", "app=y")) },
			want: []string{
				"a/s: selector changed, selects app=y (1/1)",
				"a/s: p1 left: the selector changed (1/1)",
				"a/s: p2 joined: Running (1/1)",
			},
		},
		"selector goes": {
			before: []any{service("a", "s", "app=x"), pod("a", "p1", "app=x", true)},
			do:     func(j *join) []change { return j.upsertService(service("a", "s", "")) },
			want:   []string{"a/s: selector changed, selects nothing (0/0)", "a/s: p1 left: the selector changed (0/0)"},
		},
		"service changes in what is not shown": {
			before: []any{service("a", "s", "app=x"), pod("a", "p1", "app=x", true)},
			do: func(j *join) []change {
				s := service("a", "s", "app=x")
				s.Annotations = map[string]string{"k": "v"}
				return j.upsertService(s)
			},
		},
		"pod of two services": {
			before: []any{service("a", "s2", "t=c"), service("a", "s1", "app=x")},
			do:     func(j *join) []change { return j.upsertPod(pod("a", "p", "app=x,t=c", true)) },
			want:   []string{"a/s1: p joined: Running (1/1)", "a/s2: p joined: Running (1/1)"},
		},
		"pod becomes ready": {
			before: []any{service("a", "s", "app=x"), pod("a", "p", "app=x", false)},
			do:     func(j *join) []change { return j.upsertPod(pod("a", "p", "app=x", true)) },
			want:   []string{"a/s: p: Pending -> Running (1/1)"},
		},
		"pod changes in what is not shown": {
			before: []any{service("a", "s", "app=x"), pod("a", "p", "app=x", true)},
			do:     func(j *join) []change { return j.upsertPod(pod("a", "p", "app=x,other=1", true)) },
		},
		"pod is relabelled": {
			before: []any{service("a", "s1", "app=x"), service("a", "s2", "app=y"), pod("a", "p", "app=x", true)},
			do:     func(j *join) []change { return j.upsertPod(pod("a", "p", "app=y", true)) },
			want:   []string{"a/s1: p left: its labels changed (0/0)", "a/s2: p joined: Running (1/1)"},
		},
		"pod is deleted": {
			before: []any{service("a", "s", "app=x"), pod("a", "p", "app=x", true), pod("a", "q", "app=x", true)},
			do:     func(j *join) []change { return j.deletePod(key("a", "p")) },
			want:   []string{"a/s: p is gone (1/1)"},
		},
		"pod of no service": {
			before: []any{service("a", "s", "app=x"), pod("a", "p", "app=y", false)},
			do: func(j *join) []change {
				return append(j.upsertPod(pod("a", "p", "app=y", true)), j.deletePod(key("a", "p"))...)
			},
		},
		"service is deleted": {
			before: []any{service("a", "s", "app=x"), pod("a", "p", "app=x", true)},
			do: func(j *join) []change {
				return append(j.deleteService(key("a", "s")), j.deletePod(key("a", "p"))...)
			},
			want: []string{"a/s: service deleted (0/0)"},
		},
		"what is not known is deleted": {
			do: func(j *join) []change {
				return append(j.deleteService(key("a", "s")), j.deletePod(key("a", "p"))...)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJoin()
			for _, obj := range test.before {
				switch obj := obj.(type) {
				case *corev1.Service:
					j.upsertService(obj)
				case *corev1.Pod:
					j.upsertPod(obj)
				}
			}
			if got := texts(test.do(j)); !slices.Equal(got, test.want) {
				t.Errorf("changes:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(test.want, "\n\t"))
			}
		})
	}
}

func TestStateOfPod(t *testing.T) {
	now := metav1.Now()
	waiting := corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}
	readyCondition := []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	for want, p := range map[string]*corev1.Pod{
		"Pending":            {},
		"Running":            {Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: readyCondition}},
		"Running, not ready": {Status: corev1.PodStatus{Phase: corev1.PodRunning}},
		"Succeeded":          {Status: corev1.PodStatus{Phase: corev1.PodSucceeded}},
		"Evicted":            {Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}},
		"CrashLoopBackOff":   {Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{waiting}}},
		"Terminating": {
			ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &now},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: readyCondition},
		},
	} {
		if got := stateOf(p).String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// world holds the objects that the join got, in the simplest form.
type world struct {
	services map[store.Key]*corev1.Service
	pods     map[store.Key]*corev1.Pod
}

// rows says what the join should show.
func (w world) rows() []serviceRow {
	var rows []serviceRow
	for _, k := range slices.SortedFunc(maps.Keys(w.services), compareKeys) {
		selector := labels.Set(w.services[k].Spec.Selector)
		row := serviceRow{Key: k, Selector: selector.String()}
		for _, p := range slices.SortedFunc(maps.Keys(w.pods), compareKeys) {
			if len(selector) > 0 && p.Namespace == k.Namespace && selector.AsSelector().Matches(labels.Set(w.pods[p].Labels)) {
				state := stateOf(w.pods[p])
				row.Pods = append(row.Pods, podRow{Name: p.Name, state: state})
				if state.Ready {
					row.Ready++
				}
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func compareKeys(a, b store.Key) int {
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// reader knows nothing but the changes, as a program that reads the JSON lines.
type reader map[string]map[string]state // pods by service

func (r reader) read(t *testing.T, c change) {
	t.Helper()
	members, known := r[c.subject()]
	old, member := members[c.Pod]
	bad := false
	switch c.Change {
	case serviceAdded:
		bad = known
		r[c.subject()] = map[string]state{}
	case serviceUpdated:
		bad = !known
	case serviceRemoved:
		bad = !known
		delete(r, c.subject())
	case podJoined:
		bad = !known || member
		members[c.Pod] = *c.State
	case podUpdated:
		bad = !member || old != *c.Was || old == *c.State
		members[c.Pod] = *c.State
	case podLeft:
		bad = !member || old != *c.Was
		delete(members, c.Pod)
	}
	if bad {
		t.Fatalf("%s makes no sense after what came before: %+v", c.Change, c)
	}
}

// Whatever happens, the join shows what there is, and its changes add up to it.
func TestJoinProperty(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
		j, w, r := newJoin(), world{map[store.Key]*corev1.Service{}, map[store.Key]*corev1.Pod{}}, reader{}
		for range 200 {
			var changes []change
			k := key(pick("a", "b"), pick("1", "2", "3", "4"))
			switch rnd.IntN(6) {
			case 0, 1:
				s := service(k.Namespace, k.Name, pick("", "x=1", "x=2", "x=1,y=1"))
				w.services[k] = s
				changes = j.upsertService(s)
			case 2:
				delete(w.services, k)
				changes = j.deleteService(k)
			case 3, 4:
				p := pod(k.Namespace, k.Name, pick("", "x=1", "x=2", "y=1", "x=1,y=1"), rnd.IntN(2) == 0)
				w.pods[k] = p
				changes = j.upsertPod(p)
			case 5:
				delete(w.pods, k)
				changes = j.deletePod(k)
			}
			for _, c := range changes {
				r.read(t, c)
			}
			want := w.rows()
			if got := j.rows(); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: the join shows\n%+v\nwant\n%+v", seed, got, want)
			}
			if j.podCount != len(w.pods) {
				t.Fatalf("seed %d: %d pods counted, want %d", seed, j.podCount, len(w.pods))
			}
			check(t, r, want)
		}
	}
}

func check(t *testing.T, r reader, want []serviceRow) {
	t.Helper()
	if len(r) != len(want) {
		t.Fatalf("the changes add up to %d services, want %d", len(r), len(want))
	}
	for _, row := range want {
		pods := map[string]state{}
		for _, p := range row.Pods {
			pods[p.Name] = p.state
		}
		if !maps.Equal(r[row.Key.String()], pods) {
			t.Fatalf("the changes add up to %v for %s, want %v", r[row.Key.String()], row.Key, pods)
		}
	}
}

// noon is when the tests of output take place.
var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
