// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// statusPlay changes deployments, sets and pods at random, and what may be read of
// them.
type statusPlay struct {
	*statusRig
	rand *rand.Rand
}

var statusKinds3 = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "deployments"},
	{Group: "apps", Version: "v1", Resource: "replicasets"},
	{Version: "v1", Resource: "pods"},
}

// all lists what the server has of a resource.
func (p *statusPlay) all(gvr schema.GroupVersionResource) []unstructured.Unstructured {
	list, err := fakeClients(p.T, p.api).Dynamic.Resource(gvr).List(p.Context(), metav1.ListOptions{})
	if err != nil {
		p.Fatal(err)
	}
	return list.Items
}

// want is the status of an object, the plain way: from lists of everything.
func (p *statusPlay) want(objects []unstructured.Unstructured, id status.ID) status.ObjectStatus {
	for i := range objects {
		if status.IDOf(&objects[i]) == id {
			return p.compute(objects, &objects[i])
		}
	}
	return status.ObjectStatus{ID: id, Status: status.NotFound, Message: "The object was not found"}
}

func (p *statusPlay) compute(objects []unstructured.Unstructured, obj *unstructured.Unstructured) status.ObjectStatus {
	s := status.ObjectStatus{ID: status.IDOf(obj), Object: obj}
	var rules status.Rules
	for i := range objects {
		child := &objects[i]
		if owner := metav1.GetControllerOf(child); owner != nil && owner.UID == obj.GetUID() &&
			slices.Contains(rules.Children(s.ID.GroupKind), status.IDOf(child).GroupKind) {
			s.Children = append(s.Children, p.compute(objects, child))
		}
	}
	slices.SortFunc(s.Children, func(a, b status.ObjectStatus) int { return a.ID.Compare(b.ID) })
	result, err := rules.Compute(obj, s.Children, time.Now())
	if err != nil {
		p.Fatal(err)
	}
	s.Status, s.Message = result.Status, result.Message
	return s
}

// step changes something.
func (p *statusPlay) step() {
	d, rs, pod := p.rand.IntN(3), p.rand.IntN(3), p.rand.IntN(3)
	dName := fmt.Sprint("d", d)
	rsName := fmt.Sprint(dName, "-", rs)
	podName := fmt.Sprint(rsName, "-", pod)
	var obj runtime.Object
	switch p.rand.IntN(4) {
	case 0:
		obj = deployment("a", dName, 2, int32(p.rand.IntN(3)))
	case 1:
		set := replicaSet("a", rsName, 2, int32(p.rand.IntN(3)), 0)
		set.OwnerReferences = p.ownedBy("deployments", dName)
		obj = set
	default:
		x := podIn([]corev1.PodPhase{corev1.PodRunning, corev1.PodPending, corev1.PodSucceeded}[p.rand.IntN(3)], "a", podName, 0)
		if p.rand.IntN(3) == 0 {
			x.Status.Conditions = nil
			x.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		}
		x.OwnerReferences = p.ownedBy("replicasets", rsName)
		obj = x
	}
	if p.rand.IntN(4) == 0 {
		_ = p.api.Remove(obj) // if it is there
		return
	}
	if err := p.api.Add(obj); err != nil {
		p.Fatal(err)
	}
}

// ownedBy refers to the present incarnation of an owner.
func (p *statusPlay) ownedBy(resource, name string) []metav1.OwnerReference {
	for _, gvr := range statusKinds3 {
		if gvr.Resource != resource {
			continue
		}
		for _, obj := range p.all(gvr) {
			if obj.GetName() == name {
				yes := true
				return []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: obj.GetKind(), Name: name, UID: obj.GetUID(), Controller: &yes}}
			}
		}
	}
	return nil
}

// What a watch tells in the end is what a look at everything tells, whatever changed,
// however often it was disconnected, and wherever it may look; no event tells what was
// told before; and Synced comes once.
func TestStatusModel(t *testing.T) {
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			playStatus(t, status.Config{Few: int(seed%3) - 1, PollInterval: time.Second}, func(r *statusRig) {
				p := &statusPlay{statusRig: r, rand: rand.New(rand.NewPCG(seed, 1))}
				p.play()
			})
		})
	}
}

func (p *statusPlay) play() {
	ids := []status.ID{
		idOf("apps/Deployment", "a", "d0"), idOf("apps/Deployment", "a", "d1"), idOf("apps/Deployment", "a", "d2"),
		idOf("apps/ReplicaSet", "a", "d0-0"), idOf("Pod", "a", "d0-0-0"), idOf("Pod", "a", "d1-1-1"),
	}
	slices.SortFunc(ids, status.ID.Compare)
	for range 5 {
		p.step()
	}
	w := p.watch(ids...)
	told := make(chan map[status.ID]status.ObjectStatus)
	go func() {
		latest := map[status.ID]status.ObjectStatus{}
		synced := 0
		for ev := range w.Events() {
			if ev.Type == status.Synced {
				if synced++; synced > 1 || len(latest) != len(ids) {
					p.Errorf("Synced, the %d. time, after %d of %d objects", synced, len(latest), len(ids))
				}
				continue
			}
			if last, ok := latest[ev.Resource.ID]; ok && last.Equal(ev.Resource) {
				p.Errorf("told twice: %v", ev.Resource)
			}
			latest[ev.Resource.ID] = ev.Resource
		}
		told <- latest
	}()
	for range 60 {
		switch p.rand.IntN(12) {
		case 0:
			p.api.Disconnect()
		case 1:
			denied := statusKinds3[p.rand.IntN(3)].Resource
			verb := []string{"watch", "list", "get"}[p.rand.IntN(3)]
			p.forbid(func(r fakeapi.Request) bool { return r.Resource.Resource == denied && r.Verb == verb })
		case 2:
			p.api.Intercept(nil)
		case 3:
			time.Sleep(time.Duration(p.rand.IntN(5000)) * time.Millisecond)
		case 4:
			p.api.Compact()
		default:
			p.api.Intercept(nil) // the rest of the play has to look
			p.step()
		}
	}
	p.api.Intercept(nil)
	time.Sleep(5 * time.Minute)
	synctest.Wait()
	var objects []unstructured.Unstructured
	for _, gvr := range statusKinds3 {
		objects = append(objects, p.all(gvr)...)
	}
	statuses := w.Statuses()
	w.Close()
	latest := <-told
	for i, id := range ids {
		want := p.want(objects, id)
		if got := statuses[i]; !got.Equal(want) {
			p.Errorf("the status is %+v\nwant %+v", got, want)
		}
		if got := latest[id]; !got.Equal(want) {
			p.Errorf("told was %+v\nwant %+v", got, want)
		}
	}
}
