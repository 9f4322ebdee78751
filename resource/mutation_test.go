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

	"github.com/apiary-go/apiary/store"
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
		if found != (what == "modify") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
}

// modifyObject has a resource hold an object, and modifies it or not.
func modifyObject(t *testing.T, modify bool) {
	r := startRig(t, WithName("mutation-test"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := r.view.Events(ctx)
	r.begin()
	p := pod("a", "u", 1)
	r.must(r.sink.Apply(ctx, store.MetaOf(p), p))
	r.commit()
	event := <-events
	event.Done(nil)
	if !modify {
		time.Sleep(1500 * time.Millisecond) // a look is taken every second
		return
	}
	event.Object.Labels = map[string]string{"mine": "now"}
	time.Sleep(time.Minute) // the process ends before
}
