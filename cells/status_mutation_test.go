// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/status"
)

// The objects of statuses are those of the store: the engine modifies none, and who
// does is found. The variable is read when a process starts, so there is one for each.
func TestStatusMutation(t *testing.T) {
	const does = "MUTATION_TEST"
	if os.Getenv(does) != "" {
		playStatus(t, status.Config{}, func(r *statusRig) {
			w := r.watch(idOf("Pod", "a", "one"))
			r.events(w, "one Current", "synced")
			w.Statuses()[0].Object.SetLabels(map[string]string{"whose": "mine"})
			time.Sleep(1500 * time.Millisecond) // a look is taken every second
		}, podIn(corev1.PodRunning, "a", "one", 0))
		return
	}
	for tests, modify := range map[string]bool{
		"^TestStatusMutation$": true,
		"^TestStatus(Watch|Children|AddRemove|Scopes|Wait|ClusterReader|StaleChildren|Model)$": false,
	} {
		cmd := exec.Command(os.Args[0], "-test.run="+tests)
		cmd.Env = append(os.Environ(), "KUBE_CACHE_MUTATION_DETECTOR=true", does+"=modify")
		out, err := cmd.CombinedOutput()
		found := err != nil && strings.Contains(string(out), "modified: objects are shared") && strings.Contains(string(out), "mine")
		if found != modify || !found && err != nil {
			t.Errorf("%s: %v\n%s", tests, err, out)
		}
	}
}
