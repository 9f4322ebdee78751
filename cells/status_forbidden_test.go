// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

// Each rung of the ladder of permissions, and the way back up.
func TestStatusLadder(t *testing.T) {
	one := podIn(corev1.PodRunning, "a", "one", 0)
	for _, test := range []struct {
		name string
		deny func(fakeapi.Request) bool
		want string // the last kind of request that is made
	}{
		{"nothing", func(fakeapi.Request) bool { return false }, "watch pods a"},
		{"namespace", func(r fakeapi.Request) bool { return r.Options.FieldSelector == "" && r.Name == "" }, "watch pods a metadata.name=one"},
		{"watch", func(r fakeapi.Request) bool { return r.Verb == "watch" }, "list pods a"},
		{"all but get", func(r fakeapi.Request) bool { return r.Verb != "get" }, "get pods a one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			playStatus(t, status.Config{Few: -1, Linger: -1}, func(r *statusRig) {
				r.forbid(test.deny)
				w := r.watch(idOf("Pod", "a", "one"))
				r.events(w, "one Current", "synced")
				since := 0
				if asked := r.asked(&since); !slices.Contains(asked, test.want) {
					r.Errorf("asked %q, want %q among it", asked, test.want)
				}
				r.update(podIn(corev1.PodPending, "a", "one", 0))
				r.events(w, "one InProgress") // at the next poll, if it polls
				r.forbid(func(fakeapi.Request) bool { return false })
				time.Sleep(2 * time.Minute)
				r.asked(&since)
				time.Sleep(2 * time.Minute)
				for _, text := range r.asked(&since) {
					if !strings.HasPrefix(text, "watch ") {
						r.Errorf("asks %q although it may watch", text)
					}
				}
				r.update(one)
				r.is(w, "one Current")
			}, one)
		})
	}
}

// What is forbidden is of that object only, and is noticed when it is allowed.
func TestStatusForbidden(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.forbid(func(req fakeapi.Request) bool { return req.Resource.Resource == "pods" })
		w := r.watch(idOf("Pod", "a", "one"), idOf("ConfigMap", "a", "conf"))
		first := []string{r.next(w), r.next(w)}
		slices.Sort(first)
		if want := []string{"conf Current", "one Unknown/Forbidden"}; !slices.Equal(first, want) {
			r.Fatalf("got %q", first)
		}
		r.events(w, "synced")
		if s := w.Statuses()[1]; s.Err == nil || !strings.Contains(s.Err.Error(), "pods") {
			r.Errorf("the error is %v", s.Err)
		}
		time.Sleep(time.Minute)
		since := len(r.api.Requests())
		time.Sleep(10 * time.Minute)
		if asked := r.asked(&since); len(asked) > 100 {
			r.Errorf("%d requests in 10 minutes for what is forbidden", len(asked))
		}
		r.forbid(func(req fakeapi.Request) bool { return req.Verb == "watch" })
		r.events(w, "one Current")
		r.forbid(func(req fakeapi.Request) bool { return req.Resource.Resource == "pods" })
		r.api.Disconnect()
		r.events(w, "one Unknown/Forbidden") // and not what was read when it was allowed
		r.forbid(func(fakeapi.Request) bool { return false })
		r.events(w, "one Current")
	}, podIn(corev1.PodRunning, "a", "one", 0), &corev1.ConfigMap{ObjectMeta: metaOf("a", "conf", 0)})
}

// Children that are forbidden do not keep the owner's status from being told.
func TestStatusForbiddenChildren(t *testing.T) {
	d := deployment("a", "web", 1, 1)
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.forbid(func(req fakeapi.Request) bool { return req.Resource.Resource == "pods" })
		w := r.watch(idOf("apps/Deployment", "a", "web"))
		r.events(w, "web Current", "synced")
		s := w.Statuses()[0]
		if s.ChildrenErr != nil || len(s.Children) != 1 || s.Children[0].ChildrenErr == nil {
			r.Errorf("children %v, error %v", s.Children, s.ChildrenErr)
		}
		r.forbid(func(fakeapi.Request) bool { return false })
		r.events(w, "web Current") // with pods
		if pods := w.Statuses()[0].Children[0].Children; len(pods) != 1 {
			r.Errorf("pods are %v", pods)
		}
	}, d, replicaSet("a", "web-1", 1, 1, 1), podIn(corev1.PodRunning, "a", "p", 2))
}
