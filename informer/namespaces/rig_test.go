// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig follows the config maps of a server in a set of namespaces.
type rig struct {
	*namespaces.Reflector[*corev1.ConfigMap]
	t     *testing.T
	api   *fakeapi.Server
	set   *namespaces.Set
	store *store.Store[*corev1.ConfigMap]

	mu      sync.Mutex
	changes []string
	events  []string // of the observer
	synced  int
}

// newRig makes a rig that does not run. edit can change the configuration.
func newRig(t *testing.T, edit func(*namespaces.Config[*corev1.ConfigMap]), names ...string) *rig {
	r := &rig{t: t, api: fakeapi.New()}
	var err error
	r.set, err = namespaces.NewSet(names...)
	r.must(err)
	r.store, err = store.New(store.Config[*corev1.ConfigMap]{OnChange: func(c store.Change[*corev1.ConfigMap]) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changes = append(r.changes, c.Kind.String()+" "+c.Meta.Key.String())
	}})
	r.must(err)
	client, err := kubernetes.NewForConfig(r.api.Config())
	r.must(err)
	cfg := namespaces.Config[*corev1.ConfigMap]{
		Name: "configmaps", Set: r.set, Store: r.store,
		Source: func(namespace string) informer.Source[*corev1.ConfigMap] {
			return source.FromListerWatcher[*corev1.ConfigMap](source.NewListWatchFromClient(client.CoreV1().RESTClient(), "configmaps", namespace), nil)
		},
		Synced: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.synced++
		},
		Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}},
		Observer: informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
			if info.Name != "configmaps" {
				t.Errorf("the name is %q", info.Name)
			}
			switch o := o.(type) {
			case informer.ListStarted, informer.BackingOff:
				r.events = append(r.events, fmt.Sprintf("%T %s", o, info.Namespace)) // calls do not overlap
			case informer.NamespacesChanged:
				r.events = append(r.events, fmt.Sprintf("%d: +%v -%v", o.Count, o.Added, o.Removed))
			}
		}),
		Log: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&cfg)
	}
	r.Reflector, err = namespaces.NewReflector(cfg)
	r.must(err)
	return r
}

// start runs the rig until the test ends, or until stop.
func (r *rig) start() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			r.t.Errorf("Run returned %v", err)
		}
		r.api.Disconnect()
		synctest.Wait()
	})
	r.t.Cleanup(stop)
	synctest.Wait()
	return stop
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// put creates objects, each as "namespace/name".
func (r *rig) put(keys ...string) {
	r.t.Helper()
	for _, key := range keys {
		r.must(r.api.Add(configMap(key)))
	}
}

func configMap(key string) *corev1.ConfigMap {
	namespace, name, _ := strings.Cut(key, "/")
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// wantChanges compares the changes since the last call, in any order.
func (r *rig) wantChanges(want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.changes)
	if !slices.Equal(r.changes, want) {
		r.t.Errorf("changes %q, want %q", r.changes, want)
	}
	r.changes = nil
}

func (r *rig) wantSynced(want int) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.synced != want {
		r.t.Errorf("Synced was called %d times, want %d", r.synced, want)
	}
}

// lists counts the lists of a namespace.
func (r *rig) lists(namespace string) (n int) {
	for _, req := range r.api.Requests() {
		if req.Resource.Resource == "configmaps" && req.Namespace == namespace && (req.Verb == "list" || req.Options.SendInitialEvents != nil) {
			n++
		}
	}
	return n
}
