// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/status"
)

// crashing is a Pod that is Failed.
func crashing(namespace, name string, owner int) *corev1.Pod {
	p := podIn(corev1.PodRunning, namespace, name, owner)
	p.Status.Conditions = nil
	p.Status.ContainerStatuses = []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
	return p
}

// Who loses a child is looked at again, be it that it goes to another owner or to none.
func TestStatusChildReleased(t *testing.T) {
	for _, to := range []int{0, 2} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			playStatus(t, status.Config{}, func(r *statusRig) {
				w := r.watch(idOf("apps/ReplicaSet", "a", "one"), idOf("apps/ReplicaSet", "a", "two"))
				r.is(w, "one Failed", "two InProgress")
				r.update(crashing("a", "p", to))
				if to == 0 {
					r.is(w, "one InProgress", "two InProgress")
					r.update(crashing("a", "p", 1))
					r.is(w, "one Failed", "two InProgress")
				} else {
					r.is(w, "one InProgress", "two Failed")
				}
				r.remove(crashing("a", "p", to))
				r.is(w, "one InProgress", "two InProgress")
			}, replicaSet("a", "one", 1, 0, 0), replicaSet("a", "two", 1, 0, 0), crashing("a", "p", 1))
		})
	}
}
