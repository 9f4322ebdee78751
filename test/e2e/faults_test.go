// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/devcluster"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

var faultsFor = flag.Duration("faults", 20*time.Second, "how long TestFaults runs")

var (
	widgetsV1 = schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "widgets"}
	crdsV1    = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	mayRead   = rbacv1.PolicyRule{
		APIGroups: []string{"", "example.org"}, Resources: []string{"pods", "configmaps", "widgets"}, Verbs: []string{"get", "list", "watch"},
	}
)

// faults make one trouble after another for the application of a user.
type faults struct {
	cluster *devcluster.Cluster
	user    *devcluster.User
	server  clients
	rng     *rand.Rand
	counts  map[string]int
}

// one makes a fault, and puts right what it has broken.
func (f *faults) one(t *testing.T) {
	t.Helper()
	pause := func() { time.Sleep(time.Duration(f.rng.Int64N(int64(2 * time.Second)))) }
	restart := func() {
		must(t, f.cluster.Kill())
		pause()
		must(t, f.cluster.Restart(t.Context()))
	}
	compact := func() {
		_, err := f.cluster.Compact(t.Context())
		must(t, err)
	}
	// While the rights are taken or the kind is gone, an open watch goes on. So the
	// server is killed in half of the cases.
	maybe := func(fn func()) {
		if f.rng.IntN(2) == 0 {
			fn()
		}
	}
	name := []string{"kill", "compact", "rights", "kind"}[f.rng.IntN(4)]
	f.counts[name]++
	switch name {
	case "kill":
		restart()
	case "compact":
		maybe(restart)
		compact()
	case "rights":
		must(t, f.user.SetRules(t.Context()))
		maybe(restart)
		pause()
		must(t, f.user.SetRules(t.Context(), mayRead))
	case "kind":
		must(t, f.server.dynamic.Resource(crdsV1).Delete(t.Context(), "widgets.example.org", metav1.DeleteOptions{}))
		maybe(restart)
		pause()
		until(t, "the kind is installed again", func() bool { // it may still be in deletion
			return f.cluster.InstallCRDs(t.Context(), []byte(widgetCRD)) == nil
		}, func() any { return "refused" })
	}
	pause()
}

// churnWidgets writes widgets until ctx ends. Errors are those of a server that is not
// there, or that lacks the kind.
func churnWidgets(ctx context.Context, client dynamic.ResourceInterface, writes *atomic.Int64) {
	rng := rand.New(rand.NewPCG(3, 4))
	for ctx.Err() == nil {
		name := fmt.Sprintf("w%d", rng.IntN(6))
		var err error
		switch rng.IntN(4) {
		case 0:
			err = client.Delete(ctx, name, metav1.DeleteOptions{})
		case 1:
			_, err = client.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "example.org/v1", "kind": "Widget", "metadata": map[string]any{"name": name},
			}}, metav1.CreateOptions{})
		default:
			patch := fmt.Appendf(nil, `{"spec":{"size":%d}}`, rng.IntN(1000))
			_, err = client.Patch(ctx, name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		}
		if err == nil {
			writes.Add(1)
		}
		time.Sleep(time.Millisecond)
	}
}

// The server is killed and started again, etcd is compacted, rights are taken and given,
// and a kind is removed and installed, at random and under writes. After each few faults
// the caches and the database have what the server has, and the rules hold over the whole
// record of the events.
func TestFaults(t *testing.T) {
	cluster := ownCluster(t)
	must(t, cluster.InstallCRDs(t.Context(), []byte(widgetCRD)))
	user, err := cluster.AddUser(t.Context(), "app", mayRead)
	must(t, err)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	widgetClient := server.dynamic.Resource(widgetsV1).Namespace(ns)

	impatient := informer.Backoff{Initial: 100 * time.Millisecond, Max: time.Second, Denied: time.Second}
	quick := func(lists informer.ListMode) cells.Option {
		return cells.With(resource.WithSettings(informer.Settings{Backoff: impatient, Lists: lists, PageSize: 4}))
	}
	var pods resource.Resource[*corev1.Pod]
	var maps resource.Resource[*corev1.ConfigMap]
	var custom widgets
	app := startApp(t, user.Kubeconfig(), get(&pods), get(&maps), get(&custom),
		cells.Resource[*corev1.Pod](cells.InNamespace(ns), quick(informer.ListAuto)),
		cells.Resource[*corev1.ConfigMap](cells.InNamespace(ns), quick(informer.ListPaged)),
		cells.ResourceAs(func(r resource.Resource[*unstructured.Unstructured]) widgets { return r },
			cells.Unstructured("widgets.v1.example.org"), cells.InNamespace(ns), quick(informer.ListAuto)))
	podRecord, mapRecord, widgetRecord := record(t, pods), record(t, maps), record[*unstructured.Unstructured](t, custom)
	db := newDatabase(server, ns)
	mirrored := db.start(t, mirrorConfig{ListerWatcher: world{clients: app, t: t, ns: ns}.lw(nil), Settings: informer.Settings{PageSize: 4, Backoff: impatient}})
	mirrored.waitSynced(t)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	f := &faults{cluster: cluster, user: user, server: server, rng: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}}
	var writes atomic.Int64
	rounds := 0
	for began := time.Now(); rounds == 0 || time.Since(began) < *faultsFor; rounds++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		var churning sync.WaitGroup
		churning.Go(func() { churn(ctx, server, ns, &writes) })
		churning.Go(func() { churnWidgets(ctx, widgetClient, &writes) })
		stop := func() {
			cancel(errors.New("the round is over"))
			churning.Wait()
		}
		t.Cleanup(stop)
		for range 3 {
			f.one(t)
			waitForWrites(t, &writes, 20)
		}
		stop()
		checkFaults(t, server, ns, podRecord, mapRecord, widgetRecord)
		db.settle(t, mirrored, world{clients: server, t: t, ns: ns}.truth())
		if t.Failed() {
			break
		}
	}
	t.Logf("%d rounds, faults %v, %d writes; events: %d of pods, %d of config maps, %d of widgets; %d calls of the mirror", rounds, f.counts,
		writes.Load(), podRecord.length(), mapRecord.length(), widgetRecord.length(), len(db.calls(0)))
}

func checkFaults(t *testing.T, server clients, ns string, pods *recorder[*corev1.Pod], maps *recorder[*corev1.ConfigMap],
	custom *recorder[*unstructured.Unstructured],
) {
	t.Helper()
	podTruth, mapTruth := truth(t, server, ns)
	widgetTruth := map[store.Key]store.Meta{}
	list, err := server.dynamic.Resource(widgetsV1).Namespace(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	for i := range list.Items {
		widgetTruth[store.KeyOf(&list.Items[i])] = store.MetaOf(&list.Items[i])
	}
	pods.waitState(t, podTruth)
	maps.waitState(t, mapTruth)
	custom.waitState(t, widgetTruth)
	pods.check(t, podTruth)
	maps.check(t, mapTruth)
	custom.check(t, widgetTruth)
}
