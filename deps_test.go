// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/apiary-go/apiary"

// What the library must not drag into the programs that use it.
var forbidden = []string{
	"github.com/cilium/cilium",
	"github.com/cilium/statedb",
	"github.com/prometheus",
	"go.etcd.io",
	"istio.io",
	"k8s.io/apiserver",
	"k8s.io/component-base",
	"k8s.io/kubernetes",
	"pgregory.net",
	"sigs.k8s.io/controller-runtime",
}

// Package resource has no server, no peer and no metrics library below it.
func TestResourceIsLight(t *testing.T) {
	deps := strings.Fields(goOutput(t, "list", "-deps", "./resource"))
	var ours int
	for _, dep := range deps {
		if strings.HasPrefix(dep, modulePath+"/") {
			ours++
		}
		for _, prefix := range forbidden {
			if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
				t.Errorf("resource depends on %s", dep)
			}
		}
	}
	t.Logf("resource has %d packages below it, of these %d of this module", len(deps)-1, ours-1)
}

// mayImport says which rooms the packages of a room may import. A package is in
// the room of the first part of its path.
var mayImport = map[string][]string{
	"store":    nil,
	"informer": {"store"},
	"resource": {"store", "informer"},
	"status":   {"store", "informer", "resource"},
	"cells":    {"store", "informer", "resource", "status"},
}

// Imports point down only, those of tests included.
func TestRooms(t *testing.T) {
	format := `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}`
	for line := range strings.Lines(goOutput(t, "list", "-f", format, "./...")) {
		fields := strings.Fields(line)
		from := room(fields[0])
		if from == "" {
			continue
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("package %s is in none of the rooms", fields[0])
			continue
		}
		for _, imported := range fields[1:] {
			to := room(imported)
			if to != "" && to != from && !slices.Contains(allowed, to) {
				t.Errorf("%s imports %s", fields[0], imported)
			}
		}
	}
}

// room returns the first part of the path of a package of ours, "" if it is not
// one or is the root.
func room(path string) string {
	path, ours := strings.CutPrefix(path, modulePath+"/")
	if !ours {
		return ""
	}
	name, _, _ := strings.Cut(path, "/")
	return name
}

// go.next.mod requires what go.mod requires, with other Kubernetes modules.
func TestNextModIsInStep(t *testing.T) {
	next := requirements(t, "go.next.mod")
	for path := range requirements(t, "go.mod") {
		if next[path] == "" {
			t.Errorf("go.next.mod lacks %s: run make next", path)
		}
	}
}

// requirements returns the direct requirements of a go.mod file.
func requirements(t *testing.T, file string) map[string]string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	if err := json.Unmarshal([]byte(goOutput(t, "mod", "edit", "-json", file)), &mod); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, r := range mod.Require {
		if !r.Indirect {
			versions[r.Path] = r.Version
		}
	}
	if len(versions) == 0 {
		t.Fatalf("%s requires nothing", file)
	}
	return versions
}

func goOutput(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out)
}
