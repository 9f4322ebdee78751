// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/apiary-go/apiary/status"
)

// requestLog notes requests.
type requestLog struct {
	next http.RoundTripper
	mu   *sync.Mutex
	log  *[]string
}

// WrappedRoundTripper lets apimachinery find the transport inside.
func (l requestLog) WrappedRoundTripper() http.RoundTripper { return l.next }

func (l requestLog) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	*l.log = append(*l.log, r.Method+" "+r.URL.String())
	l.mu.Unlock()
	return l.next.RoundTrip(r)
}

// Deployments with ten ReplicaSets, of which one has three Pods. While nothing changes
// there is no request; what changes below is told without one.
func TestStatusIdle(t *testing.T) {
	const deployments, sets, pods = 20, 10, 3
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	c := controllers{t: t, server: server, ns: server.namespace(t)}
	var ids []status.ID
	for i := range deployments {
		name := fmt.Sprint("d", i)
		ids = append(ids, idIn(c.ns, "apps", "Deployment", name))
		c.deployment(name, pods)
		for j := range sets {
			c.replicaSet(name, fmt.Sprint(name, "-", j), pods)
		}
		for j := range pods {
			c.podStatus(c.pod(name+"-0", fmt.Sprint(name, "-0-", j)), readyPod())
		}
		c.ready(name, name+"-0", pods)
	}

	var mu sync.Mutex
	var log []string
	asked := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), log...)
	}
	config := cluster.Config()
	config.QPS = -1
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return requestLog{next, &mu, &log} })
	dyn, err := dynamic.NewForConfig(config)
	must(t, err)
	disco, err := discovery.NewDiscoveryClientForConfig(config)
	must(t, err)
	engine, err := status.New(status.Config{
		Dynamic: dyn,
		Mapping: status.ByMapper(restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))),
	})
	must(t, err)
	defer func() { must(t, engine.Stop(t.Context())) }()
	must(t, wait(t, engine, ids))
	w, err := engine.Watch(t.Context(), ids...)
	must(t, err)
	defer w.Close()
	for ev := range w.Events() {
		if ev.Type == status.Synced {
			break
		}
	}
	for _, s := range w.Statuses() {
		var found int
		for _, set := range s.Children {
			found += len(set.Children)
		}
		if len(s.Children) != sets || found != pods {
			t.Errorf("%s has %d sets and %d pods", s.ID, len(s.Children), found)
		}
	}

	before := len(asked())
	t.Logf("%d requests for all statuses", before)
	begun := cpu(t)
	for i := range deployments {
		c.failProgress(fmt.Sprint("d", i))
	}
	var told int
	for ev := range w.Events() {
		if ev.Resource.Status == status.Failed {
			if told++; told == deployments {
				break
			}
		}
	}
	t.Logf("%v of CPU for each change, those of the client that makes them included", (cpu(t)-begun)/deployments)
	for _, text := range asked()[before:] {
		if !strings.Contains(text, "watch=true") {
			t.Errorf("asked %s although nothing was to be asked", text)
		}
	}
}

func wait(t *testing.T, engine *status.Engine, ids []status.ID) error {
	t.Helper()
	all, err := engine.Wait(t.Context(), ids, status.All(status.Current))
	if err == nil && len(all) != len(ids) {
		err = fmt.Errorf("%d statuses of %d objects", len(all), len(ids))
	}
	return err
}

// cpu is the processor time of this process.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
