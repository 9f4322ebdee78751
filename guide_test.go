// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/resourcetest"
	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/store"
)

// runApp starts and stops an application. It returns the error of the start, and what the
// health of a scope was before the stop.
func runApp(t *testing.T, scope string, c ...cell.Cell) (health string, err error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	var board *cell.SimpleHealth
	app := hive.New(append(c, cell.Invoke(func(h *cell.SimpleHealth) { board = h }))...)
	if err := app.Start(log, t.Context()); err != nil {
		return "", err
	}
	synctest.Wait()
	if h := board.GetChild(scope); h != nil {
		health = fmt.Sprintf("%s %s", h.Level, h.Status)
	}
	return health, app.Stop(log, context.Background())
}

// docs/first-cell.md: without a cluster the application runs, unless it requires one.
func TestGuideWithoutCluster(t *testing.T) {
	for _, name := range []string{"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} {
		t.Setenv(name, "")
	}
	synctest.Test(t, func(t *testing.T) {
		health, err := runApp(t, "Pod.v1", cells.Client, greeterApp, cell.Invoke(optionalGreeter))
		if err != nil || health != "Stopped disabled: "+cells.ErrNotConfigured.Error() {
			t.Errorf("got %q, %v", health, err)
		}
		if _, err := runApp(t, "", cells.Client, greeterApp, requireCluster); err == nil || !strings.Contains(err.Error(), cells.ErrNotConfigured.Error()) {
			t.Errorf("got %v", err)
		}
	})
}

// docs/first-cell.md and docs/running.md: what health says.
func TestGuideHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(shopPod("web")); err != nil {
			t.Fatal(err)
		}
		client := cells.FakeClientWith(func() *fakeapi.Server { return api })
		health, err := runApp(t, "Pod.v1", client, greeterApp, requireCluster)
		if err != nil || health != "OK synced, 1 object at the last list" {
			t.Errorf("got %q, %v", health, err)
		}
		config := cell.Provide(func() nodeConfig { return nodeConfig{NodeName: "node-1"} })
		health, err = runApp(t, "Pod.v1", client, cell.SimpleHealthCell, config, cell.Provide(newLocalPods),
			cell.Invoke(func(pods resource.Resource[*corev1.Pod]) { pods.Observe(t.Context(), nil, nil) }))
		if err != nil || health != "OK synced, 0 objects at the last list" {
			t.Errorf("got %q, %v", health, err)
		}
		health, err = runApp(t, "Pod.v1", client, cell.SimpleHealthCell, checkedPods,
			cell.Invoke(func(pods resource.Resource[*corev1.Pod]) { pods.Observe(t.Context(), nil, nil) }))
		if err != nil || health != "OK synced, 1 object at the last list" {
			t.Errorf("with other settings: got %q, %v", health, err)
		}
		health, err = runApp(t, "Pod.v1", client, cell.SimpleHealthCell, podsOfTenants,
			cell.Invoke(func(pods resource.Resource[*corev1.Pod]) error {
				pods.Observe(t.Context(), nil, nil)
				return tenants.Add("shop")
			}))
		if err != nil || health != "OK synced, 1 namespace" {
			t.Errorf("in a set of namespaces: got %q, %v", health, err)
		}
		tenants.Remove("shop")
	})
}

// memoryRoutes are routes in memory. A pod without an address fails.
type memoryRoutes struct {
	mu      sync.Mutex
	entries map[store.Key]string
}

func (r *memoryRoutes) Set(_ context.Context, key store.Key, ip string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ip == "" {
		return errors.New("no address")
	}
	r.entries[key] = ip
	return nil
}

func (r *memoryRoutes) Remove(_ context.Context, key store.Key, _ string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.entries, key)
	return nil
}

func (r *memoryRoutes) RemoveUnknown(_ context.Context, known map[store.Key]bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.entries, func(key store.Key, _ string) bool { return !known[key] })
	return nil
}

func (r *memoryRoutes) Write(upserts, deletes iter.Seq2[store.Key, *corev1.Pod]) (err error) {
	for key, pod := range upserts {
		err = errors.Join(err, r.Set(context.Background(), key, pod.Status.PodIP))
	}
	for key := range deletes {
		err = errors.Join(err, r.Remove(context.Background(), key, ""))
	}
	return err
}

// docs/consumer.md: each of the consumers ends with what the server has.
func TestGuideConsumers(t *testing.T) {
	for name, consume := range map[string]func(context.Context, resource.Resource[*corev1.Pod], *memoryRoutes){
		"one goroutine": func(ctx context.Context, pods resource.Resource[*corev1.Pod], r *memoryRoutes) {
			syncRoutes(ctx, pods, r)
		},
		"batches": func(ctx context.Context, pods resource.Resource[*corev1.Pod], r *memoryRoutes) {
			syncRoutesInBatches(ctx, pods, r)
		},
		"many goroutines": func(ctx context.Context, pods resource.Resource[*corev1.Pod], r *memoryRoutes) {
			syncRoutesByMany(ctx, runningPods(pods), func(ev resource.Event[*corev1.Pod]) error {
				switch ev.Kind {
				case resource.Upsert:
					return r.Set(ctx, ev.Key, ev.Object.Status.PodIP)
				case resource.Delete:
					return r.Remove(ctx, ev.Key, "")
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pods, table := resourcetest.New[*corev1.Pod](t), &memoryRoutes{entries: map[store.Key]string{}}
				web := shopPod("web")
				web.Status.Phase = corev1.PodRunning
				web = pods.Upsert(web)
				pods.Sync()
				go consume(t.Context(), pods.Resource(), table)
				time.Sleep(3 * time.Minute) // of the bubble: the key failed, and is retried
				synctest.Wait()
				if keys := slices.Collect(maps.Values(waiting(pods.Resource()))); len(keys) != 1 || keys[0] == 0 {
					t.Errorf("%v keys wait, want the one that fails and, in a batch, the Sync", keys)
				}
				web.Status.PodIP = "10.0.0.1"
				pods.Upsert(web)
				time.Sleep(time.Second) // for the batch
				synctest.Wait()
				if want := map[store.Key]string{store.KeyOf(web): "10.0.0.1"}; !maps.Equal(table.entries, want) {
					t.Errorf("got %v, want %v", table.entries, want)
				}
				pods.Delete(store.KeyOf(web))
				time.Sleep(time.Second)
				synctest.Wait()
				if len(table.entries) > 0 {
					t.Errorf("got %v after the deletion", table.entries)
				}
			})
		})
	}
}

// docs/consumer.md: a write can be read in the store.
func TestGuideReadsItsWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := shopPod("web")
		labelIt := func(lc cell.Lifecycle, api *fakeapi.Server, client kubernetes.Interface, pods resource.Resource[*corev1.Pod]) error {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				read, err := pods.Store(ctx)
				if err != nil {
					return err
				}
				if err := label(ctx, client, read, store.KeyOf(web)); err != nil {
					return err
				}
				if pod, _, _ := read.GetByKey(store.KeyOf(web)); pod.Labels["greeted"] != "true" {
					t.Errorf("got labels %v", pod.Labels)
				}
				return nil
			}})
			return api.Add(web)
		}
		if _, err := runApp(t, "", cells.FakeClient, greeterApp, cell.Invoke(labelIt)); err != nil {
			t.Error(err)
		}
	})
}

// statusWriter writes the status of objects.
type statusWriter struct{ dynamic.ResourceInterface }

func (w statusWriter) Update(ctx context.Context, obj *unstructured.Unstructured, opts metav1.UpdateOptions, _ ...string) (*unstructured.Unstructured, error) {
	return w.UpdateStatus(ctx, obj, opts)
}

// docs/status.md: a wait is about what was written, and ends when that is Failed.
func TestGuideWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		web := shopPod("web")
		update := func(lc cell.Lifecycle, api *fakeapi.Server, engine *status.Engine, client dynamic.Interface) error {
			lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
				pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(web.Namespace)
				obj, err := pods.Get(ctx, web.Name, metav1.GetOptions{})
				if err != nil {
					return err
				}
				obj.Object["status"] = map[string]any{"phase": "Pending", "containerStatuses": []any{
					map[string]any{"name": "web", "state": map[string]any{"waiting": map[string]any{"reason": "ImagePullBackOff"}}},
				}}
				var failed *status.FailedError
				if err := updateAndWait(ctx, engine, statusWriter{pods}, obj); !errors.As(err, &failed) {
					t.Errorf("got %v", err)
				}
				return nil
			}})
			web.Status.Phase = corev1.PodSucceeded
			return api.Add(web)
		}
		if _, err := runApp(t, "", cells.FakeClient, cells.Status, cell.SimpleHealthCell, cell.Invoke(update)); err != nil {
			t.Error(err)
		}
	})
}

// memoryCatalog is a remote service that forgets its catalog when it gets its first patch.
type memoryCatalog struct {
	pods     map[store.Key]string
	replaced int
}

func (c *memoryCatalog) Replace(_ context.Context, pods map[store.Key]string) error {
	c.pods, c.replaced = maps.Clone(pods), c.replaced+1
	return nil
}

func (c *memoryCatalog) Patch(_ context.Context, set map[store.Key]string, remove []store.Key) error {
	if c.replaced == 1 {
		return errUnknownCatalog
	}
	maps.Copy(c.pods, set)
	for _, key := range remove {
		delete(c.pods, key)
	}
	return nil
}

// docs/pushing.md: the service gets a snapshot, another one when it asks for it, and changes.
func TestGuidePushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, service := fakeapi.New(), &memoryCatalog{}
		log := slog.New(slog.DiscardHandler)
		app := hive.New(
			cells.FakeClientWith(func() *fakeapi.Server { return api }),
			cell.Provide(func() catalogAPI { return service }, newCatalog),
			cells.Push[*corev1.Pod, *catalog](cells.WithLabelSelector("app=web")),
		)
		if err := app.Start(log, t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c"} {
			addPod(t, api, name) // has no labels
			if err := api.Add(shopPod("web-" + name)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if err := api.Remove(shopPod("web-a")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := app.Stop(log, context.Background()); err != nil {
			t.Error(err)
		}
		var names []string
		for key := range service.pods {
			names = append(names, key.Name)
		}
		if slices.Sort(names); !slices.Equal(names, []string{"web-b", "web-c"}) || service.replaced != 2 {
			t.Errorf("%v after %d snapshots", names, service.replaced)
		}
	})
}

// docs/consumer.md: a view of a node, and one without changes of the status.
func TestGuideViews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		byNode := cache.Indexers{"node": func(obj any) ([]string, error) { return []string{obj.(*corev1.Pod).Spec.NodeName}, nil }}
		pods := resourcetest.New[*corev1.Pod](t, resource.WithIndexers(byNode))
		pods.Sync()
		var got []string
		for ev := range withoutStatus(podsOfNode(pods.Resource(), "node-1")).Events(t.Context()) {
			got = append(got, string(ev.Kind)+" "+ev.Key.Name)
			ev.Done(nil)
			web := shopPod("web")
			switch len(got) {
			case 1: // Sync
				web.Spec.NodeName = "node-1"
				pods.Upsert(web)
			case 2:
				web.Spec.NodeName, web.Status.PodIP = "node-1", "10.0.0.1"
				pods.Upsert(web)
				synctest.Wait()
				web.Spec.NodeName = "node-2"
				pods.Upsert(web)
			}
			if len(got) == 3 {
				break
			}
		}
		if want := []string{"sync ", "upsert web", "delete web"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
