// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/status"
)

// busyConfig has an engine whose rule for a ConfigMap takes a second.
func busyConfig(few int) status.Config {
	slow := func(*unstructured.Unstructured, []status.ObjectStatus, time.Time) (status.Result, error) {
		time.Sleep(time.Second)
		return status.Result{Status: status.Current}, nil
	}
	return status.Config{Few: few, Rules: &status.Rules{
		Jobs:   status.JobCompleted,
		ByKind: map[schema.GroupKind]status.Rule{{Kind: "ConfigMap"}: slow},
	}}
}

var slowID = idOf("ConfigMap", "a", "slow")

func slowObject(n int) *corev1.ConfigMap {
	m := metaOf("a", "slow", 0)
	m.Labels = map[string]string{"n": fmt.Sprint(n)}
	return &corev1.ConfigMap{ObjectMeta: m}
}

// waitFor begins a wait, which all that is there has reached when it returns.
func (r *statusRig) waitFor(until status.Condition, ids ...status.ID) <-chan error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
	go func() {
		defer cancel()
		_, err := r.engine.Wait(ctx, ids, until)
		done <- err
	}()
	time.Sleep(time.Minute)
	synctest.Wait()
	return done
}

// A Job fails and is removed while the engine is busy with another object. The wait ends
// with the failure.
func TestStatusFailureBeforeRemoval(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metaOf("a", "job", 0)}
	failed := job.DeepCopy()
	failed.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}
	for _, outage := range []bool{false, true} {
		playStatus(t, busyConfig(0), func(r *statusRig) {
			done := r.waitFor(status.OrFailed(status.All(status.Current)), idOf("batch/Job", "a", "job"), slowID)
			if outage { // a watch is resumed after it
				r.fail(func() error { return errors.New("no route") })
				r.api.Disconnect()
				time.Sleep(10 * time.Second)
			}
			r.update(slowObject(1)) // the engine is in the rule
			r.update(failed)
			r.remove(failed)
			r.api.Intercept(nil)
			var fe *status.FailedError
			if err := <-done; !errors.As(err, &fe) {
				r.Errorf("after an outage: %t: the wait ended with %v", outage, err)
			}
		}, job, slowObject(0))
	}
}

// A Pod is deleted and created again while the engine is busy.
func TestStatusDeletionBeforeCreation(t *testing.T) {
	pod := podIn(corev1.PodRunning, "a", "web-0", 0)
	id := idOf("Pod", "a", "web-0")
	notFound := func(statuses []status.ObjectStatus) (bool, error) {
		i := slices.IndexFunc(statuses, func(s status.ObjectStatus) bool { return s.ID == id })
		return statuses[i].Status == status.NotFound, nil
	}
	for name, until := range map[string]func() status.Condition{
		"NotFound": func() status.Condition { return notFound },
		"Deleted": func() status.Condition {
			deleted := status.Deleted(nil)
			return func(statuses []status.ObjectStatus) (bool, error) {
				return deleted(slices.DeleteFunc(slices.Clone(statuses), func(s status.ObjectStatus) bool { return s.ID == slowID }))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			playStatus(t, busyConfig(-1), func(r *statusRig) {
				done := r.waitFor(until(), id, slowID)
				r.update(slowObject(1))
				r.remove(pod)
				r.update(pod)
				if err := <-done; err != nil {
					r.Error(err)
				}
			}, pod, slowObject(0))
		})
	}
}

// A deletion that no watch brought shows in the UID.
func TestStatusDeletionInAnOutage(t *testing.T) {
	pod := podIn(corev1.PodRunning, "a", "web-0", 0)
	playStatus(t, status.Config{}, func(r *statusRig) {
		w := r.watch(idOf("Pod", "a", "web-0"))
		r.events(w, "web-0 Current", "synced")
		done := r.waitFor(status.Deleted(nil), idOf("Pod", "a", "web-0"))
		r.fail(func() error { return errors.New("no route") })
		r.api.Disconnect()
		r.events(w, "web-0 Current/Transient")
		r.remove(pod)
		r.update(pod)
		r.api.Compact()
		r.api.Intercept(nil)
		if err := <-done; err != nil {
			r.Error(err)
		}
		r.events(w, "web-0 NotFound", "web-0 Current")
	}, pod)
}

// missPlay makes states of some pods at random, and notes them.
type missPlay struct {
	*statusRig
	life, step map[string]int
	there      map[string]bool
	want       map[string][]string // the states of each pod
}

// act changes a pod.
func (p *missPlay) act(name, what string) {
	if what == "delete" || !p.there[name] {
		p.life[name]++
		p.step[name] = 0
	}
	if what == "delete" {
		if p.there[name] {
			p.there[name] = false
			p.must(p.api.Remove(podIn("", "a", name, 0)))
			p.want[name] = append(p.want[name], "NotFound")
		}
		return
	}
	pod := podIn(corev1.PodPending, "a", name, 0)
	result := status.InProgress
	switch what {
	case "fail":
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		result = status.Failed
	case "end":
		pod.Status.Phase, result = corev1.PodSucceeded, status.Current
	}
	p.step[name]++
	pod.Labels = map[string]string{"state": fmt.Sprintf("%d.%d", p.life[name], p.step[name])}
	p.there[name] = true
	p.must(p.api.Add(pod))
	p.want[name] = append(p.want[name], pod.Labels["state"]+" "+string(result))
}

func (r *statusRig) must(err error) {
	if err != nil {
		r.Fatal(err)
	}
}

// A condition sees every state of every object in order, however busy the engine and
// the condition are, and however often the watch is disconnected.
func TestStatusConditionSeesEachState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var got, want map[string][]string
		var waited error
		acts := rapid.SliceOfN(rapid.SampledFrom([]string{"progress", "progress", "fail", "delete", "busy", "settle", "pause", "disconnect"}), 1, 40).Draw(rt, "acts")
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"x", "y"}), len(acts), len(acts)).Draw(rt, "names")
		slowly := rapid.Bool().Draw(rt, "slowly")
		there := rapid.Bool().Draw(rt, "there")
		few := rapid.SampledFrom([]int{-1, 0}).Draw(rt, "few")
		playStatusBy(t, cell.Group(), busyConfig(few), func(r *statusRig) {
			p := &missPlay{statusRig: r, life: map[string]int{}, step: map[string]int{}, there: map[string]bool{}, want: map[string][]string{}}
			if there {
				p.act("x", "progress")
			}
			ids := []status.ID{slowID, idOf("Pod", "a", "x"), idOf("Pod", "a", "y")}
			for _, id := range ids[1:] {
				if !p.there[id.Name] {
					p.want[id.Name] = []string{"NotFound"}
				}
			}
			got = map[string][]string{}
			done := r.waitFor(func(statuses []status.ObjectStatus) (bool, error) {
				ended := 0
				for _, s := range statuses {
					if s.ID == slowID || s.Reason == status.NotObserved || !s.Stale.IsZero() {
						continue
					}
					seen := string(s.Status)
					if s.Object != nil {
						seen = s.Object.GetLabels()["state"] + " " + seen
					}
					if all := got[s.ID.Name]; len(all) == 0 || all[len(all)-1] != seen {
						got[s.ID.Name] = append(all, seen)
					}
					if s.Status == status.Current {
						ended++
					}
				}
				if slowly {
					time.Sleep(300 * time.Millisecond)
				}
				return ended == len(ids)-1, nil
			}, ids...)
			for i, what := range acts {
				switch what {
				case "busy":
					p.must(p.api.Add(slowObject(i + 1)))
				case "settle":
					synctest.Wait()
				case "pause":
					time.Sleep(700 * time.Millisecond)
				case "disconnect":
					p.api.Disconnect()
				default:
					p.act(names[i], what)
				}
			}
			p.act("x", "end")
			p.act("y", "end")
			waited, want = <-done, p.want
		}, []runtime.Object{slowObject(0)})
		if waited != nil {
			rt.Fatal(waited)
		}
		for name := range want {
			if !slices.Equal(got[name], want[name]) {
				rt.Errorf("of %s the condition saw\n%s\nwant\n%s", name, strings.Join(got[name], ", "), strings.Join(want[name], ", "))
			}
		}
	})
}
