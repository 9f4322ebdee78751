// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/status"
)

var missedObjects = flag.Int("missed", 200, "how many objects TestStatusMissesNo… has")

// missedConfig watches namespaces.
var missedConfig = status.Config{Few: -1, Linger: -1, Rules: &status.Rules{Jobs: status.JobCompleted}}

// inParallel calls f with each number below n, on some goroutines.
func inParallel(n int, f func(i int)) {
	var running sync.WaitGroup
	defer running.Wait()
	var next atomic.Int64
	for range 16 {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
}

// waits begins a wait for each ID, and returns when all have begun. The result returns
// their errors when all have ended.
func waits(t *testing.T, engine *status.Engine, ids []status.ID, until func() status.Condition) func() []error {
	t.Helper()
	errs := make([]error, len(ids))
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	var begun, ended sync.WaitGroup
	for i, id := range ids {
		begun.Add(1)
		once := sync.OnceFunc(begun.Done)
		condition := until()
		ended.Go(func() {
			defer once()
			_, errs[i] = engine.Wait(ctx, []status.ID{id}, func(s []status.ObjectStatus) (bool, error) {
				if s[0].Status != status.Unknown {
					once()
				}
				return condition(s)
			})
		})
	}
	begun.Wait()
	return func() []error { ended.Wait(); return errs }
}

// seen counts the objects that had an event with a status.
func seen(t *testing.T, engine *status.Engine, ids []status.ID, want status.Status) func() int {
	t.Helper()
	w, err := engine.Watch(t.Context(), ids...)
	must(t, err)
	had := map[status.ID]bool{}
	all, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for ev := range w.Events() {
			if ev.Type == status.ResourceUpdate && ev.Resource.Status == want && !had[ev.Resource.ID] {
				if had[ev.Resource.ID] = true; len(had) == len(ids) {
					close(all)
				}
			}
		}
	}()
	return func() int {
		select {
		case <-all:
		case <-time.After(patience):
		}
		w.Close()
		<-ended
		return len(had)
	}
}

// Jobs fail and are removed at once, as by a TTL of zero. Each wait ends with the failure.
func TestStatusMissesNoFailure(t *testing.T) {
	n := *missedObjects
	var engine *status.Engine
	server := startApp(t, sharedCluster(t).Kubeconfig(), cells.StatusWith(missedConfig), get(&engine))
	ns := server.namespace(t)
	jobs := server.kube.BatchV1().Jobs(ns)
	made, ids := make([]*batchv1.Job, n), make([]status.ID, n)
	inParallel(n, func(i int) {
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("job-", i)}}
		job.Spec.Template.Spec = newPod("job").Spec
		job.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
		var err error
		if made[i], err = jobs.Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
		ids[i] = idIn(ns, "batch", "Job", job.Name)
	})
	if t.Failed() {
		return
	}
	events := seen(t, engine, ids, status.Failed)
	end := waits(t, engine, ids, func() status.Condition { return status.OrFailed(status.All(status.Current)) })
	begun := time.Now()
	var longest atomic.Int64
	inParallel(n, func(i int) {
		now := metav1.Now()
		made[i].Status.StartTime = &now
		for _, kind := range []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed} {
			made[i].Status.Conditions = append(made[i].Status.Conditions, batchv1.JobCondition{
				Type: kind, Status: corev1.ConditionTrue, Reason: "BackoffLimitExceeded", LastTransitionTime: now})
		}
		background := metav1.DeletePropagationBackground
		_, err := jobs.UpdateStatus(t.Context(), made[i], metav1.UpdateOptions{})
		failed := time.Now()
		if err = errors.Join(err, jobs.Delete(t.Context(), made[i].Name, metav1.DeleteOptions{PropagationPolicy: &background})); err != nil {
			t.Error(err)
		}
		longest.Store(max(longest.Load(), int64(time.Since(failed))))
	})
	took := time.Since(begun)
	missed := 0
	for i, err := range end() {
		if fe := (*status.FailedError)(nil); !errors.As(err, &fe) {
			missed++
			t.Logf("%s: %v", ids[i], err)
		}
	}
	if had := events(); missed > 0 || had < n {
		t.Errorf("of %d failures waits missed %d, events %d", n, missed, n-had)
	}
	t.Logf("%d Jobs failed and were removed in %v, each after %v at most", n, took, time.Duration(longest.Load()))
}

// Pods are deleted and created again under their names. Each wait for the deletion ends.
func TestStatusMissesNoDeletion(t *testing.T) {
	n := *missedObjects
	var engine *status.Engine
	server := startApp(t, sharedCluster(t).Kubeconfig(), cells.StatusWith(missedConfig), get(&engine))
	ns := server.namespace(t)
	pods := server.kube.CoreV1().Pods(ns)
	ids := make([]status.ID, n)
	create := func(i int) {
		if _, err := pods.Create(t.Context(), newPod(fmt.Sprint("pod-", i)), metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	}
	for i := range ids {
		ids[i] = idIn(ns, "", "Pod", fmt.Sprint("pod-", i))
	}
	inParallel(n, create)
	if t.Failed() {
		return
	}
	events := seen(t, engine, ids, status.NotFound)
	deleted := waits(t, engine, ids, func() status.Condition { return status.Deleted(nil) })
	notFound := waits(t, engine, ids, func() status.Condition { return status.All(status.NotFound) })
	begun := time.Now()
	var none int64
	inParallel(n, func(i int) {
		if err := pods.Delete(t.Context(), ids[i].Name, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			t.Error(err)
		}
		create(i)
	})
	took := time.Since(begun)
	missed := 0
	for _, end := range []func() []error{deleted, notFound} {
		for i, err := range end() {
			if err != nil {
				missed++
				t.Logf("%s: %v", ids[i], err)
			}
		}
	}
	if had := events(); missed > 0 || had < n {
		t.Errorf("of %d deletions waits missed %d, events %d", n, missed, n-had)
	}
	t.Logf("%d Pods were deleted and created again in %v", n, took)
}
