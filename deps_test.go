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

// Packages resource and ciliumcompat have no server, no peer and no metrics library below them.
func TestResourceIsLight(t *testing.T) {
	deps := strings.Fields(goOutput(t, "list", "-deps", "./resource", "./resource/ciliumcompat"))
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
	t.Logf("they have %d packages below them, of these %d of this module", len(deps)-2, ours-2)
}

// rooms lists the packages of the library, and for each the rooms that it may import
// besides internal/check and internal/redact. Rooms are full paths. An entry that ends in /... is a room
// with all below it.
var rooms = map[string][]string{
	"internal/check":      nil,
	"internal/redact":     nil,
	"internal/httpclient": nil,
	"internal/logtest":    nil,
	"internal/servertest": {"store", "informer"},
	"internal/usercode":   {"store"},

	"store":                    nil,
	"store/corelisters":        {"store"},
	"store/fifo":               {"store"},
	"store/poller":             {"store", "internal/usercode"},
	"store/internal/storetest": {"store"},
	"store/cacheview":          {"store"},

	"informer":                       {"store", "internal/usercode"},
	"informer/internal/informertest": {"store", "informer"},
	"informer/internal/pending":      {"store"},
	"informer/namespaces":            {"store", "informer", "internal/usercode"},
	"informer/record":                {"store", "informer", "internal/usercode"},
	"informer/source/internal/wire":  nil,
	"informer/source":                {"store", "informer", "informer/record", "informer/source/internal/wire", "internal/usercode", "internal/httpclient"},
	"informer/mirror":                {"store", "informer", "informer/source", "informer/internal/pending", "internal/usercode"},
	"informer/push":                  {"store", "informer", "informer/source", "informer/mirror", "informer/internal/pending", "internal/usercode"},
	"informer/clientgo":              {"store", "store/cacheview", "informer", "informer/source", "internal/usercode"},

	"resource":              {"store/...", "informer/...", "internal/usercode"},
	"resource/resourcetest": {"store/...", "informer/...", "resource"},
	"resource/pool":         {"store", "informer", "resource", "internal/usercode"},
	"resource/ciliumcompat": {"store", "resource"},

	"status":  {"store/...", "informer/...", "resource/...", "internal/usercode"},
	"cells":   {"store/...", "informer/...", "resource/...", "status", "fakeapi", "internal/httpclient"},
	"fakeapi": nil,

	// What the programs of other modules share.
	"internal/cli":     {"cells"},
	"internal/clitest": {"internal/cli"},

	"test/history": {"store/...", "informer/...", "resource/..."},
}

// testsImport lists what the tests of a room import besides. They are in a package of
// their own there (informer_test), so that no import goes in a circle.
var testsImport = map[string][]string{
	"store":                          {"store/internal/storetest"},
	"store/fifo":                     {"store/internal/storetest"},
	"store/poller":                   {"store/internal/storetest"},
	"store/cacheview":                nil,
	"informer":                       {"informer/source", "informer/record", "informer/internal/informertest"},
	"informer/namespaces":            {"informer/source", "fakeapi"},
	"informer/record":                {"informer/source", "informer/internal/informertest"},
	"informer/internal/informertest": {"store/...", "informer/..."},
	"informer/source":                {"informer/internal/informertest", "informer/push", "fakeapi"},
	"informer/mirror":                {"informer/internal/informertest"},
	"informer/push":                  {"informer/internal/informertest"},
	"informer/clientgo":              {"informer/internal/informertest"},
	"resource":                       {"resource/resourcetest", "fakeapi"},
	"resource/ciliumcompat":          {"informer/source", "resource/resourcetest"},
}

// TestRooms fails on an import that does not stand above: imports point down only.
func TestRooms(t *testing.T) {
	found := map[string]bool{}
	format := `{{.ImportPath}} {{range .Imports}}{{.}} {{end}}tests:{{range .TestImports}} {{.}}{{end}}{{range .XTestImports}} {{.}}{{end}}`
	for line := range strings.Lines(goOutput(t, "list", "-f", format, "./...")) {
		name, imports, _ := strings.Cut(strings.TrimSpace(line), " ")
		from, ours := strings.CutPrefix(name, modulePath+"/")
		if !ours {
			continue // the root, which has tests alone
		}
		allowed, known := rooms[from]
		if !known {
			t.Errorf("package %s is in none of the rooms", from)
			continue
		}
		found[from] = true
		code, tests, _ := strings.Cut(imports, "tests:")
		checkImports(t, from, code, allowed)
		checkImports(t, "the tests of "+from, tests, slices.Concat(allowed, testsImport[from], []string{from, "internal/logtest", "internal/servertest"}))
	}
	for room := range rooms {
		if !found[room] {
			t.Errorf("there is no package %s", room)
		}
	}
}

// checkImports fails on an import of ours that is not allowed.
func checkImports(t *testing.T, who, imports string, allowed []string) {
	t.Helper()
	for _, imported := range strings.Fields(imports) {
		to, ours := strings.CutPrefix(imported, modulePath+"/")
		fits := func(room string) bool {
			below, all := strings.CutSuffix(room, "/...")
			return to == below || all && strings.HasPrefix(to, below+"/")
		}
		if ours && to != "internal/check" && to != "internal/redact" && !slices.ContainsFunc(allowed, fits) {
			t.Errorf("%s import %s", who, to)
		}
	}
}

// test/previous/go.mod requires what go.mod requires, with other Kubernetes modules.
func TestPreviousModIsInStep(t *testing.T) {
	const file, client = "test/previous/go.mod", "k8s.io/client-go"
	current, previous := requirements(t, "go.mod"), requirements(t, file)
	for path := range current {
		if previous[path] == "" {
			t.Errorf("%s lacks %s: run make previous", file, path)
		}
	}
	if previous[client] == current[client] {
		t.Errorf("%s requires %s %s, as go.mod does", file, client, current[client])
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
