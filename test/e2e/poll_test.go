// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// pollInterval is long enough for rules to be set in between.
const pollInterval = 3 * time.Second

// polling has a resource poll that often, and tell what it does.
func polling(every time.Duration, seen *occurrences) cells.Option {
	return cells.With(
		resource.WithSettings(informer.Settings{PollInterval: every, Backoff: denied}),
		resource.WithObserver(seen))
}

// polls waits until n more polls were read.
func polls(t *testing.T, seen *occurrences, n int) {
	t.Helper()
	n += len(each[informer.ListDone](seen))
	await(t, seen, func(informer.ListDone) bool { return len(each[informer.ListDone](seen)) >= n })
}

// A user who may list and not watch: changes come with the next poll, one watch is
// refused for each, and once watching is allowed it goes on without a list.
func TestListedAndNotWatched(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	may := func(verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}
	}
	user, err := cluster.AddUser(t.Context(), "lister", may("get", "list"))
	must(t, err)
	seen := &occurrences{}
	var pods resource.Resource[*corev1.Pod]
	startApp(t, user.Kubeconfig(), get(&pods), cells.Resource[*corev1.Pod](cells.InNamespace(ns), polling(pollInterval, seen)))
	client := server.kube.CoreV1().Pods(ns)
	a, err := client.Create(t.Context(), newPod("a"), metav1.CreateOptions{})
	must(t, err)
	b, err := client.Create(t.Context(), newPod("b"), metav1.CreateOptions{})
	must(t, err)

	rec := record(t, pods)
	rec.waitSynced(t)
	rec.waitFor(t, a, b)
	if p := await(t, seen, func(informer.Polling) bool { return true }); p.Cause != informer.CauseForbidden || p.Every != pollInterval {
		t.Errorf("%+v", p)
	}
	begun := time.Now()
	a.Labels["changed"] = "yes"
	a, err = client.Update(t.Context(), a, metav1.UpdateOptions{})
	must(t, err)
	must(t, client.Delete(t.Context(), "b", now()))
	c, err := client.Create(t.Context(), newPod("c"), metav1.CreateOptions{})
	must(t, err)
	rec.waitFor(t, a, c)
	t.Logf("the changes took %v, with an interval of %v", time.Since(begun), pollInterval)
	polls(t, seen, 2)
	if info := pods.(resource.Inspector).Stats().Reflector; info.Polling == nil || info.Err != nil {
		t.Errorf("%+v", info)
	}
	lists, tries := len(each[informer.ListStarted](seen)), len(each[informer.WatchEnded](seen))
	if tries > lists+1 {
		t.Errorf("%d watches were refused beside %d lists", tries, lists)
	}

	polls(t, seen, 1)
	listed, done := each[informer.ListDone](seen), time.Now()
	must(t, user.SetRules(t.Context(), may("get", "list", "watch")))
	inTime := time.Since(done) < pollInterval
	opened := await(t, seen, func(informer.WatchOpened) bool { return true })
	if again := each[informer.ListDone](seen); inTime && len(again) != len(listed) {
		t.Errorf("%d lists after the watch was allowed", len(again)-len(listed))
	}
	if last := listed[len(listed)-1]; inTime && opened.Version != last.Version {
		t.Errorf("the watch began at %s, the last list was of %s", opened.Version, last.Version)
	}
	lists = len(each[informer.ListStarted](seen))
	must(t, client.Delete(t.Context(), "c", now()))
	rec.waitFor(t, a)
	rec.check(t, rec.state)
	if more := len(each[informer.ListStarted](seen)) - lists; more > 0 {
		t.Errorf("%d lists although it watches", more)
	}
	if info := pods.(resource.Inspector).Stats().Reflector; info.Polling != nil || info.State != informer.StateWatching {
		t.Errorf("%+v", info)
	}
}

// A kind that cannot be watched, and whose objects have no versions.
func TestComponentStatuses(t *testing.T) {
	cluster := sharedCluster(t)
	seen := &occurrences{}
	var statuses resource.Resource[*corev1.ComponentStatus]
	startApp(t, cluster.Kubeconfig(), get(&statuses),
		cells.Resource[*corev1.ComponentStatus](polling(200*time.Millisecond, seen)))
	rec := record(t, statuses)
	rec.waitSynced(t)
	if p := await(t, seen, func(informer.Polling) bool { return true }); p.Cause != informer.CauseNotSupported {
		t.Errorf("%+v", p)
	}
	polls(t, seen, 3)
	stats := statuses.(resource.Inspector).Stats()
	if stats.Store.Objects == 0 || stats.Reflector.Err != nil || stats.Reflector.Polling == nil || stats.Reflector.Version != "" {
		t.Errorf("%+v", stats)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.events) != stats.Store.Objects+1 {
		t.Errorf("%d objects that did not change made the events %v", stats.Store.Objects, rec.events)
	}
}
