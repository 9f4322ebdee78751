// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/status"
)

// An object that is forbidden has its own status, and another one when it is allowed.
func TestPollForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rs := replicaSet("shop", "web", 1, 1)
		c := newCluster(configMap("shop", "config"), rs, object(nodes, "", "n1", nil))
		c.set(func(verb, kind string) error {
			switch {
			case verb == "list" && kind != "ReplicaSet", kind == "Node":
				return forbidden(kind)
			}
			return nil
		})
		p := start(t, engine(c), status.Options{}, idsOf(configMap("shop", "config"), rs, object(nodes, "", "n1", nil))...)
		for _, ev := range p.events {
			if ev.Resource.ID.Name == "web" && !apierrors.IsForbidden(ev.Resource.ChildrenErr) {
				t.Errorf("of the Pods that may not be listed is said: %v", ev.Resource.ChildrenErr)
			}
		}
		// The ConfigMap is read by itself, the ReplicaSet is Current by what it says.
		p.want(0, "config Current", "n1 Unknown Forbidden", "web Current", "synced")
		c.set(nil)
		p.want(cycle, "n1 Current", "web Current")
	})
}

// A server that fails leaves the last status, and since when it is not known better.
func TestPollStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"))
		p := start(t, engine(c), status.Options{}, idsOf(configMap("shop", "config"))...)
		p.want(0, "config Current", "synced")
		c.set(func(string, string) error { return apierrors.NewInternalError(errors.New("no etcd")) })
		time.Sleep(cycle)
		synctest.Wait()
		since := p.events[0].Resource.Stale
		if since.IsZero() || time.Since(since) > cycle {
			t.Errorf("stale since %v", since)
		}
		p.want(0, "config Current Transient")
		p.want(3 * cycle)
		c.set(nil)
		p.want(cycle, "config Current")
	})
}

// Only what an object controls counts, not what has the labels that it selects.
func TestPollChildren(t *testing.T) {
	for name, factory := range map[string]status.ClusterReaderFactory{
		"listing": nil,
		"direct":  status.ClusterReaderFactoryFunc(status.NewDirectReader),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rs := replicaSet("shop", "web", 2, 1)
				other := replicaSet("shop", "other", 1, 1)
				foreign := ownedBy(other, pod("shop", "foreign", "CrashLoop"))
				c := newCluster(rs, other, foreign, ownedBy(rs, pod("shop", "mine", "Running")))
				e := engine(c)
				e.ClusterReaderFactory = factory
				p := start(t, e, status.Options{}, idsOf(rs)...)
				p.want(0, "web InProgress", "synced")
				c.put(ownedBy(rs, pod("shop", "mine", "CrashLoop")))
				time.Sleep(cycle)
				synctest.Wait()
				s := p.events[0].Resource
				if s.Status != status.Failed || len(s.Children) != 1 || s.Children[0].ID.Name != "mine" || s.Children[0].Status != status.Failed {
					t.Errorf("got %v with %v", s, s.Children)
				}
			})
		})
	}
}

// A cycle lists each kind once, in pages, however many objects are asked for.
func TestPollRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		var ids []status.ID
		for i := range 30 {
			d := object(deployments, "shop", fmt.Sprint("d", i), nil)
			c.put(d)
			ids = append(ids, status.IDOf(d))
			for j := range 10 {
				rs := ownedBy(d, replicaSet("shop", fmt.Sprintf("d%d-%d", i, j), 3, 3))
				c.put(rs)
				for k := range 3 {
					c.put(ownedBy(rs, pod("shop", fmt.Sprintf("d%d-%d-%d", i, j, k), "Running")))
				}
			}
		}
		ids = append(ids, status.ID{Namespace: "shop", Name: "missing", GroupKind: deployments})
		p := start(t, engine(c), status.Options{Concurrency: 100}, ids...)
		if n := len(p.events); n != len(ids)+1 {
			t.Fatalf("%d events", n)
		}
		for _, ev := range p.events[:len(ids)-1] {
			if s := ev.Resource; s.Status != status.NotFound && (len(s.Children) != 10 || len(s.Children[0].Children) != 3) {
				t.Fatalf("%v has %d children", s, len(s.Children))
			}
		}
		if gets, lists := c.requests(); lists != 1+1+2 || gets != 0 { // 30 Deployments, 300 ReplicaSets, 900 Pods in pages of 500
			t.Errorf("%d lists, %d gets", lists, gets)
		}
		time.Sleep(cycle)
		synctest.Wait()
		if _, lists := c.requests(); lists != 2*(1+1+2) {
			t.Errorf("%d lists after the second cycle", lists)
		}
	})
}

// Who lists for others and gives up leaves it to the next one.
func TestListingReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(configMap("shop", "config"))
		c.stall = func(ctx context.Context, _, _ string) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(3 * time.Second):
				return nil
			}
		}
		reader, err := status.NewListingReader(c, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		get := func(timeout time.Duration) (*unstructured.Unstructured, error) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			obj := configMap("", "")
			return obj, reader.Get(ctx, types.NamespacedName{Namespace: "shop", Name: "config"}, obj)
		}
		go func() {
			if _, err := get(time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the caller that gives up got %v", err)
			}
		}()
		synctest.Wait()
		if obj, err := get(5 * time.Second); err != nil || obj.GetName() != "config" {
			t.Errorf("the next caller got %v, %v", obj, err)
		}
		if _, lists := c.requests(); lists != 2 {
			t.Errorf("%d lists", lists)
		}
	})
}

// forgetful is a cluster of which no second page can be had.
type forgetful struct {
	*cluster
	err error // of later pages
}

func (f forgetful) List(ctx context.Context, list *unstructured.UnstructuredList, namespace string, opts metav1.ListOptions) error {
	if opts.Continue != "" {
		return f.err
	}
	return f.cluster.List(ctx, list, namespace, opts)
}

// A list of which the server forgets the later pages is read at once; one that fails
// otherwise has failed.
func TestClusterReaderListExpires(t *testing.T) {
	c := newCluster()
	const many = 1200
	for i := range many {
		c.put(pod("shop", fmt.Sprint(i), "Running"))
	}
	read := func(err error) (int, error) {
		reader, newErr := status.NewDirectReader(forgetful{c, err}, c, nil)
		if newErr != nil {
			t.Fatal(newErr)
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(pods.WithVersion("v1"))
		list.SetKind("PodList")
		err = reader.ListNamespaceScoped(t.Context(), list, "shop", nil)
		return len(list.Items), err
	}
	if n, err := read(apierrors.NewResourceExpired("the continue token is too old")); n != many || err != nil {
		t.Errorf("listed %d, %v", n, err)
	}
	broken := apierrors.NewInternalError(errors.New("no etcd"))
	if _, err := read(broken); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
}

// What a ClusterReader returns is the caller's, and what it selects is as asked for;
// also of kinds that no ID names.
func TestClusterReaders(t *testing.T) {
	for name, factory := range map[string]status.ClusterReaderFactoryFunc{
		"listing": status.NewListingReader,
		"direct":  status.NewDirectReader,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rs := replicaSet("shop", "web", 1, 1)
				c := newCluster(rs, ownedBy(rs, pod("shop", "a", "Running")), pod("shop", "b", "Running"),
					ownedBy(rs, pod("other", "c", "Running")), object(nodes, "", "n1", nil))
				reader, err := factory.New(c, c, nil)
				if err != nil {
					t.Fatal(err)
				}
				list := func(kind schema.GroupKind, namespace string, selector labels.Selector) (names string) {
					t.Helper()
					list := &unstructured.UnstructuredList{}
					list.SetGroupVersionKind(kind.WithVersion("v1"))
					list.SetKind(kind.Kind + "List")
					var err error
					if kind == nodes {
						err = reader.ListClusterScoped(t.Context(), list, selector)
					} else {
						err = reader.ListNamespaceScoped(t.Context(), list, namespace, selector)
					}
					if err != nil {
						t.Fatal(err)
					}
					for _, obj := range list.Items {
						names += obj.GetName()
						obj.SetName("mine now")
					}
					return names
				}
				for range 2 {
					web := labels.SelectorFromSet(labels.Set{"app": "web"})
					if got := list(pods, "shop", web); got != "a" {
						t.Errorf("selected %q", got)
					}
					if got := list(pods, "shop", nil); got != "ab" && got != "ba" {
						t.Errorf("all are %q", got)
					}
					if got := list(nodes, "", nil); got != "n1" {
						t.Errorf("nodes are %q", got)
					}
					obj := object(nodes, "", "", nil)
					if err := reader.Get(t.Context(), types.NamespacedName{Name: "n1"}, obj); err != nil || obj.GetName() != "n1" {
						t.Errorf("got %v, %v", obj, err)
					}
					obj.SetName("mine now")
					if err := reader.Get(t.Context(), types.NamespacedName{Name: "n2"}, obj); !apierrors.IsNotFound(err) {
						t.Errorf("of what is not there is said %v", err)
					}
				}
			})
		})
	}
}
