// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/status"
)

var (
	deployments = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	replicaSets = schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	pods        = schema.GroupKind{Kind: "Pod"}
	configMaps  = schema.GroupKind{Kind: "ConfigMap"}
	nodes       = schema.GroupKind{Kind: "Node"}
	widgets     = schema.GroupKind{Group: "example.org", Kind: "Widget"}
)

// cluster is a Reader, and the mapper for it.
type cluster struct {
	*meta.DefaultRESTMapper

	mu       sync.Mutex
	objects  map[schema.GroupKind][]*unstructured.Unstructured
	gets     int
	lists    int
	deny     func(verb, kind string) error                      // asked for each request
	stall    func(ctx context.Context, verb, kind string) error // so, without the lock
	mappings int
}

func newCluster(objects ...*unstructured.Unstructured) *cluster {
	c := &cluster{DefaultRESTMapper: meta.NewDefaultRESTMapper([]schema.GroupVersion{
		{Group: "apps", Version: "v1"}, {Version: "v1"}, {Group: "example.org", Version: "v1"},
	}), objects: map[schema.GroupKind][]*unstructured.Unstructured{}}
	for _, kind := range []schema.GroupKind{deployments, replicaSets, pods, configMaps} {
		c.Add(kind.WithVersion("v1"), meta.RESTScopeNamespace)
	}
	c.Add(nodes.WithVersion("v1"), meta.RESTScopeRoot)
	for _, obj := range objects {
		c.put(obj)
	}
	return c
}

func (c *cluster) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mappings++
	return c.DefaultRESTMapper.RESTMapping(kind, versions...)
}

func (c *cluster) put(obj *unstructured.Unstructured) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := obj.GroupVersionKind().GroupKind()
	all := c.objects[kind]
	at := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool {
		return o.GetNamespace() == obj.GetNamespace() && o.GetName() == obj.GetName()
	})
	if at < 0 {
		c.objects[kind] = append(all, obj)
		return
	}
	all[at] = obj
}

func (c *cluster) answer(ctx context.Context, verb string, gvk schema.GroupVersionKind) error {
	c.mu.Lock()
	deny, stall := c.deny, c.stall
	c.mu.Unlock()
	if stall != nil {
		if err := stall(ctx, verb, gvk.Kind); err != nil {
			return err
		}
	}
	if deny != nil {
		return deny(verb, gvk.Kind)
	}
	return ctx.Err()
}

func (c *cluster) requests() (gets, lists int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets, c.lists
}

func (c *cluster) set(deny func(verb, kind string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deny = deny
}

func forbidden(kind string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: kind}, "", fmt.Errorf("no rule allows it"))
}

func (c *cluster) Get(ctx context.Context, key types.NamespacedName, obj *unstructured.Unstructured) error {
	gvk := obj.GroupVersionKind()
	c.mu.Lock()
	c.gets++
	c.mu.Unlock()
	if err := c.answer(ctx, "get", gvk); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.objects[gvk.GroupKind()] {
		if o.GetName() == key.Name && (o.GetNamespace() == key.Namespace || o.GetNamespace() == "") {
			o.DeepCopyInto(obj)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: gvk.Group, Resource: gvk.Kind}, key.Name)
}

// List is paged, by position.
func (c *cluster) List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error {
	gvk := list.GroupVersionKind()
	gvk.Kind = gvk.Kind[:len(gvk.Kind)-len("List")]
	c.mu.Lock()
	c.lists++
	c.mu.Unlock()
	if err := c.answer(ctx, "list", gvk); err != nil {
		return err
	}
	selector, err := labels.Parse(opts.LabelSelector)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []unstructured.Unstructured
	for _, o := range c.objects[gvk.GroupKind()] {
		in := namespace == "" || o.GetNamespace() == "" || o.GetNamespace() == namespace
		if in && selector.Matches(labels.Set(o.GetLabels())) {
			all = append(all, *o.DeepCopy())
		}
	}
	from, _ := strconv.Atoi(opts.Continue)
	to := len(all)
	if opts.Limit > 0 {
		to = min(from+int(opts.Limit), to)
	}
	list.Items = all[from:to]
	if to < len(all) {
		list.SetContinue(strconv.Itoa(to))
	}
	return nil
}

// object returns an object, whose spec and status are written as YAML is.
func object(kind schema.GroupKind, namespace, name string, content map[string]any) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{}}
	for field, value := range content {
		obj.Object[field] = value
	}
	obj.SetGroupVersionKind(kind.WithVersion("v1"))
	obj.SetNamespace(namespace)
	obj.SetName(name)
	obj.SetUID(types.UID(kind.Kind + "/" + namespace + "/" + name))
	obj.SetGeneration(1)
	return obj
}

func ownedBy(owner, obj *unstructured.Unstructured) *unstructured.Unstructured {
	yes := true
	obj.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(), Controller: &yes,
	}})
	obj.SetLabels(map[string]string{"app": "web"})
	return obj
}

func configMap(namespace, name string) *unstructured.Unstructured {
	return object(configMaps, namespace, name, nil)
}

// replicaSet has as many of its replicas as it says.
func replicaSet(namespace, name string, want, have int64) *unstructured.Unstructured {
	return object(replicaSets, namespace, name, map[string]any{
		"spec": map[string]any{
			"replicas": want,
			"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
		},
		"status": map[string]any{
			"observedGeneration": int64(1), "replicas": have, "fullyLabeledReplicas": have,
			"availableReplicas": have, "readyReplicas": have,
		},
	})
}

func pod(namespace, name, phase string) *unstructured.Unstructured {
	content := map[string]any{"phase": phase}
	if phase == "CrashLoop" {
		content = map[string]any{"phase": "Running", "containerStatuses": []any{map[string]any{
			"name": "c", "state": map[string]any{"waiting": map[string]any{"reason": "CrashLoopBackOff"}},
		}}}
	} else if phase == "Running" {
		content["conditions"] = []any{map[string]any{"type": "Ready", "status": "True"}}
	}
	return object(pods, namespace, name, map[string]any{"status": content})
}

func idsOf(objects ...*unstructured.Unstructured) []status.ID {
	var ids []status.ID
	for _, obj := range objects {
		ids = append(ids, status.IDOf(obj))
	}
	return ids
}

// poll is a Poll whose events are collected.
type poll struct {
	t      *testing.T
	mu     sync.Mutex
	events []status.Event
	closed bool
}

// start polls in a bubble until the test ends.
func start(t *testing.T, e *status.PollerEngine, opts status.Options, ids ...status.ID) *poll {
	p := &poll{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	events := e.Poll(ctx, ids, opts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ev := range events {
			p.mu.Lock()
			p.events = append(p.events, ev)
			p.mu.Unlock()
		}
		p.closed = true
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return p
}

// after lets time pass, and returns the events since the last look as text.
func (p *poll) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var texts []string
	for _, ev := range p.events {
		switch ev.Type {
		case status.ResourceUpdate:
			text := fmt.Sprintf("%s %s", ev.Resource.ID.Name, ev.Resource.Status)
			if ev.Resource.Reason != "" {
				text += " " + string(ev.Resource.Reason)
			}
			texts = append(texts, text)
		default:
			texts = append(texts, string(ev.Type))
		}
	}
	p.events = nil
	last := func(text string) int { return strings.Count("synced error", text) }
	slices.SortFunc(texts, func(a, b string) int { // which object is the first does not matter
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(a, b))
	})
	return texts
}

func (p *poll) want(d time.Duration, want ...string) {
	p.t.Helper()
	if got := p.after(d); !slices.Equal(got, want) {
		p.t.Errorf("got %q, want %q", got, want)
	}
}
