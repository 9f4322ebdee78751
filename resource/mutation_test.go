// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
)

// With KUBE_CACHE_MUTATION_DETECTOR in its environment a process ends that modifies an
// object. The variable is read when a process starts, so there is one for each case.
func TestMutationDetector(t *testing.T) {
	const does = "MUTATION_TEST"
	if what := os.Getenv(does); what != "" {
		synctest.Test(t, func(t *testing.T) { modifyObject(t, what == "modify") })
		return
	}
	for _, what := range []string{"modify", "leave alone"} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMutationDetector$")
		cmd.Env = append(os.Environ(), "KUBE_CACHE_MUTATION_DETECTOR=true", does+"="+what)
		out, err := cmd.CombinedOutput()
		found := err != nil && strings.Contains(string(out), "mutation-test") && strings.Contains(string(out), "modified")
		if found != (what == "modify") || !found && err != nil {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

// modifyObject has a resource hold an object, and modifies it or not.
func modifyObject(t *testing.T, modify bool) {
	lc := &cell.DefaultLifecycle{}
	r := New[*corev1.Pod](lc, &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []corev1.Pod{*pod("a", "u", 1)}}, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil },
	}, WithName("mutation-test"), WithLogger(quiet()), WithSettings(informer.Settings{Lists: informer.ListPaged}))
	events := r.Events(t.Context())
	if err := lc.Start(quiet(), t.Context()); err != nil {
		t.Fatal(err)
	}
	event := <-events
	event.Done(nil)
	if modify {
		event.Object.Labels = map[string]string{"mine": "now"}
	}
	time.Sleep(1500 * time.Millisecond) // a look is taken every second
	if err := lc.Stop(quiet(), t.Context()); err != nil {
		t.Fatal(err)
	}
}
