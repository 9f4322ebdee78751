// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

// Package status compares the statuses of package status with those of kstatus and of
// kubectl rollout status. It is a module of its own, since it depends on kubectl.
package status

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	kstatus "github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kubectl/pkg/polymorphichelpers"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write docs/status-table.md")

const (
	page   = "../../docs/status-table.md"
	tables = "../../status/testdata/table"
)

const head = `# Statuses side by side

<!-- Written by go test -C test/status -update from status/testdata/table. -->

What kstatus, kubectl and Apiary say of the same objects. The column kubectl is that of ` + "`kubectl rollout status`" + `: done, waiting, or an error.
It has no answer for most kinds. The column Apiary has the status by the default [rules](status.md#rules-of-your-own), and the statuses by
options where they differ: ` + "`JobCompleted`" + ` is ` + "`Jobs: JobCompleted`" + `, the others are fields of ` + "`Rules`" + `.

`

// families are the files in order, and their titles.
var families = [][2]string{
	{"deployment", "Deployments"}, {"replicaset", "ReplicaSets and ReplicationControllers"}, {"statefulset", "StatefulSets"},
	{"daemonset", "DaemonSets"}, {"pod", "Pods"}, {"job", "Jobs"}, {"core", "Other kinds of Kubernetes"}, {"custom", "Custom resources"},
	{"gateway-api", "Gateway API"}, {"cert-manager", "cert-manager"}, {"cluster-api", "Cluster API"}, {"crossplane", "Crossplane"}, {"argo-cd", "Argo"},
}

// row is a row of the table. TestRulesPage of package status checks the field Apiary and
// those of With.
type row struct {
	State  string                     `json:"state"`
	Apiary string                     `json:"apiary"`
	With   map[string]string          `json:"with"`
	Why    string                     `json:"why"`
	Object *unstructured.Unstructured `json:"object"`
}

func rowsOf(t *testing.T, family string) (rows []row) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(tables, family+".yaml"))
	if err == nil {
		err = yaml.Unmarshal(data, &rows)
	}
	if err != nil {
		t.Fatalf("%s: %v", family, err)
	}
	return rows
}

func byKstatus(obj *unstructured.Unstructured) string {
	result, err := kstatus.Compute(obj)
	if err != nil {
		return "error"
	}
	return result.Status.String()
}

func byKubectl(obj *unstructured.Unstructured) string {
	viewer, err := polymorphichelpers.StatusViewerFor(obj.GroupVersionKind().GroupKind())
	if err != nil {
		return "-"
	}
	switch _, done, err := viewer.Status(obj, 0); {
	case err != nil:
		return "error"
	case done:
		return "done"
	}
	return "waiting"
}

// The page is up to date, and has a reason for each difference from kstatus.
func TestTable(t *testing.T) {
	var body bytes.Buffer
	count, same := 0, 0
	for _, family := range families {
		fmt.Fprintf(&body, "\n## %s\n\n| kind | state | kstatus | kubectl | Apiary | why it differs from kstatus |\n|---|---|---|---|---|---|\n", family[1])
		seen := map[string]bool{}
		for _, row := range rowsOf(t, family[0]) {
			name := row.Object.GetKind() + ", " + row.State
			if seen[name] {
				t.Errorf("%s: %s is there twice", family[0], name)
			}
			seen[name] = true
			theirs := byKstatus(row.Object)
			count++
			if row.Apiary == theirs {
				same++
			}
			apiary, differs := row.Apiary, row.Apiary != theirs
			for _, option := range slices.Sorted(maps.Keys(row.With)) {
				apiary += fmt.Sprintf("; `%s`: %s", option, row.With[option])
				differs = differs || row.With[option] != theirs
			}
			if differs != (row.Why != "") {
				t.Errorf("%s: %s: kstatus says %s, Apiary %s, and the reason is %q", family[0], name, theirs, apiary, row.Why)
			}
			fmt.Fprintf(&body, "| %s | %s | %s | %s | %s | %s |\n", row.Object.GetKind(), row.State, theirs, byKubectl(row.Object), apiary, row.Why)
		}
	}
	if files, err := filepath.Glob(filepath.Join(tables, "*.yaml")); err != nil || len(files) != len(families) {
		t.Errorf("%d files, %d families: %v", len(files), len(families), err)
	}
	want := head + fmt.Sprintf("By default, Apiary says the same as kstatus of %d of these %d objects.\n", same, count) + body.String()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the files in %s say (%v): run go test -C test/status -update", strings.TrimPrefix(page, "../../"), tables, err)
	}
	if count < 120 {
		t.Errorf("the table has %d objects, want 120", count)
	}
}
