// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/status"
)

// statusConfig retries and polls faster than by default.
var statusConfig = status.Config{
	Backoff:      informer.Backoff{Denied: time.Second, Max: 2 * time.Second},
	PollInterval: time.Second,
	Linger:       -1,
}

// seer reads the events of a watch, and checks what they say.
type seer struct {
	t      *testing.T
	watch  *status.Watch
	events chan status.Event
	latest map[status.ID]status.ObjectStatus
}

func see(t *testing.T, engine *status.Engine, ids ...status.ID) *seer {
	t.Helper()
	w, err := engine.Watch(t.Context(), ids...)
	must(t, err)
	s := &seer{t: t, watch: w, events: make(chan status.Event), latest: map[status.ID]status.ObjectStatus{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ev := range w.Events() {
			select {
			case s.events <- ev:
			case <-t.Context().Done():
			}
		}
	}()
	t.Cleanup(func() { w.Close(); <-ended })
	return s
}

// until reads until the latest statuses are as wanted.
func (s *seer) until(what string, ok func() bool) {
	s.t.Helper()
	timeout := time.After(patience)
	for !ok() {
		select {
		case ev := <-s.events:
			if ev.Type == status.ResourceUpdate {
				if last, told := s.latest[ev.Resource.ID]; told && last.Equal(ev.Resource) {
					s.t.Errorf("told twice: %v", ev.Resource)
				}
				s.latest[ev.Resource.ID] = ev.Resource
			}
		case <-timeout:
			s.t.Fatalf("%s: not in %v; it is %v", what, patience, s.watch.Statuses())
		}
	}
}

// is waits until an object has a status, and a reason if one is given.
func (s *seer) is(id status.ID, want status.Status, reason ...status.Reason) {
	s.t.Helper()
	s.until(id.String()+" to be "+string(want), func() bool {
		last := s.latest[id]
		return last.Status == want && (len(reason) == 0 || last.Reason == reason[0])
	})
}

func idIn(ns, group, kind, name string) status.ID {
	return status.ID{Namespace: ns, Name: name, GroupKind: schema.GroupKind{Group: group, Kind: kind}}
}

// A Deployment is taken through a rollout as its controllers would do it.
func TestStatusRollout(t *testing.T) {
	var engine *status.Engine
	server := startApp(t, sharedCluster(t).Kubeconfig(), cells.StatusWith(statusConfig), get(&engine))
	ns := server.namespace(t)
	web, set := idIn(ns, "apps", "Deployment", "web"), idIn(ns, "apps", "ReplicaSet", "web-1")
	s := see(t, engine, web, set, idIn(ns, "", "Pod", "web-1-0"), idIn(ns, "", "ConfigMap", "conf"))
	s.is(web, status.NotFound)
	s.is(set, status.NotFound)

	_, err := server.kube.CoreV1().ConfigMaps(ns).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "conf"}, Data: map[string]string{"key": "value"}}, metav1.CreateOptions{})
	must(t, err)
	s.is(idIn(ns, "", "ConfigMap", "conf"), status.Current)
	if obj := s.latest[idIn(ns, "", "ConfigMap", "conf")].Object; obj.Object["data"] != nil || obj.GetManagedFields() != nil || obj.GetKind() != "ConfigMap" {
		t.Errorf("kept is %v", obj.Object)
	}

	c := controllers{t: t, server: server, ns: ns}
	c.deployment("web", 1)
	c.replicaSet("web", "web-1", 1)
	pod := c.pod("web-1", "web-1-0")
	s.is(web, status.InProgress)
	s.is(set, status.InProgress)
	s.is(idIn(ns, "", "Pod", "web-1-0"), status.InProgress)

	crash := corev1.ContainerStatus{Name: "main", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}
	c.podStatus(pod, corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{crash}})
	s.is(set, status.Failed)
	s.is(idIn(ns, "", "Pod", "web-1-0"), status.Failed)
	s.until("the Deployment to show the pod", func() bool {
		sets := s.latest[web].Children
		return len(sets) == 1 && len(sets[0].Children) == 1 && sets[0].Children[0].Status == status.Failed
	})
	c.podStatus(pod, readyPod())
	c.ready("web", "web-1", 1)
	s.is(set, status.Current)
	s.is(web, status.Current)

	c.failProgress("web")
	s.is(web, status.Failed)
	must(t, server.kube.AppsV1().Deployments(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}))
	s.is(web, status.NotFound)
	must(t, server.kube.CoreV1().Pods(ns).Delete(t.Context(), pod.Name, metav1.DeleteOptions{})) // with grace, and nobody to end it
	s.until("the pod to go", func() bool {
		last := s.latest[idIn(ns, "", "Pod", "web-1-0")].Status
		return last == status.Terminating || last == status.NotFound
	})
}

// What a user may not read, and then may, each way on the ladder.
func TestStatusForbiddenThenAllowed(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	pods := server.kube.CoreV1().Pods(ns)
	pod, err := pods.Create(t.Context(), newPod("a"), metav1.CreateOptions{})
	must(t, err)
	may := func(names []string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs, ResourceNames: names}
	}
	maps := rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}}
	user, err := cluster.AddUser(t.Context(), "status-reader", maps)
	must(t, err)
	var engine *status.Engine
	startApp(t, user.Kubeconfig(), cells.StatusWith(statusConfig), get(&engine))

	id, conf := idIn(ns, "", "Pod", "a"), idIn(ns, "", "ConfigMap", "kube-root-ca.crt")
	s := see(t, engine, id, conf)
	s.is(id, status.Unknown, status.Forbidden)
	s.until("the config map", func() bool { return s.latest[conf].Status != "" && s.latest[conf].Status != status.Unknown })
	if err := s.latest[id].Err; err == nil || !strings.Contains(err.Error(), "pods") {
		t.Errorf("the error is %v", err)
	}
	for _, rule := range []rbacv1.PolicyRule{
		may([]string{"a"}, "get"),
		may([]string{"a"}, "get", "list"),
		may([]string{"a"}, "get", "list", "watch"),
		may(nil, "get", "list", "watch"),
	} {
		must(t, user.SetRules(t.Context(), maps, rule))
		c := controllers{t: t, server: server, ns: ns}
		c.podStatus(pod, readyPod())
		s.is(id, status.Current)
		c.podStatus(pod, corev1.PodStatus{Phase: corev1.PodPending})
		s.is(id, status.InProgress)
	}
	must(t, user.SetRules(t.Context(), maps))
	see(t, engine, idIn(ns, "", "Pod", "b")).is(idIn(ns, "", "Pod", "b"), status.Unknown, status.Forbidden)
}

// A custom kind that is installed while somebody waits, and removed with its objects.
func TestStatusCustomResource(t *testing.T) {
	cluster := sharedCluster(t)
	var engine *status.Engine
	server := startApp(t, cluster.Kubeconfig(), cells.StatusWith(statusConfig), get(&engine))
	id := idIn("default", "status.example.org", "Gadget", "g")
	s := see(t, engine, id)
	s.is(id, status.Unknown, status.KindNotInstalled)
	crd := strings.NewReplacer("widget", "gadget", "Widget", "Gadget", "example.org", "status.example.org").Replace(widgetCRD)
	crd = strings.Replace(crd, "spec: {type: object, x-kubernetes-preserve-unknown-fields: true}",
		"status: {type: object, x-kubernetes-preserve-unknown-fields: true}\n    subresources: {status: {}}", 1)
	must(t, cluster.InstallCRDs(t.Context(), []byte(crd)))
	s.is(id, status.NotFound)
	client := server.dynamic.Resource(schema.GroupVersionResource{Group: "status.example.org", Version: "v1", Resource: "gadgets"}).Namespace("default")
	g, err := client.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "status.example.org/v1", "kind": "Gadget", "metadata": map[string]any{"name": "g"},
	}}, metav1.CreateOptions{})
	must(t, err)
	s.is(id, status.Current)
	for _, want := range []struct {
		ready  string
		status status.Status
	}{{"False", status.InProgress}, {"True", status.Current}} {
		g.Object["status"] = map[string]any{
			"observedGeneration": g.GetGeneration(),
			"conditions":         []any{map[string]any{"type": "Ready", "status": want.ready, "reason": "Test", "message": "for the test"}},
		}
		g, err = client.UpdateStatus(t.Context(), g, metav1.UpdateOptions{})
		must(t, err)
		s.is(id, want.status)
	}
	crds := server.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	must(t, crds.Delete(t.Context(), "gadgets.status.example.org", metav1.DeleteOptions{}))
	s.is(id, status.NotFound)
	s.is(id, status.NotFound, status.KindNotInstalled)
	_, err = engine.Wait(t.Context(), []status.ID{id}, status.All(status.NotFound))
	must(t, err)
}

// Wait on a real server: met, failed, out of time.
func TestStatusWait(t *testing.T) {
	var engine *status.Engine
	server := startApp(t, sharedCluster(t).Kubeconfig(), cells.StatusWith(statusConfig), get(&engine))
	ns := server.namespace(t)
	c := controllers{t: t, server: server, ns: ns}
	c.deployment("web", 1)
	c.replicaSet("web", "web-1", 1)
	pod := c.pod("web-1", "web-1-0")
	id := idIn(ns, "apps", "Deployment", "web")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := engine.Wait(ctx, []status.ID{id}, status.All(status.Current))
	var unmet *status.WaitError
	if !errors.As(err, &unmet) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	met := make(chan error, 1)
	go func() {
		_, err := engine.Wait(t.Context(), []status.ID{id}, status.OrFailed(status.All(status.Current)))
		met <- err
	}()
	c.podStatus(pod, readyPod())
	c.ready("web", "web-1", 1)
	must(t, <-met)
	c.failProgress("web")
	_, err = engine.Wait(t.Context(), []status.ID{id}, status.OrFailed(func([]status.ObjectStatus) (bool, error) { return false, nil }))
	var failed *status.FailedError
	if !errors.As(err, &failed) || !slices.ContainsFunc(failed.Failed, func(s status.ObjectStatus) bool { return s.ID == id }) {
		t.Errorf("got %v", err)
	}
}
