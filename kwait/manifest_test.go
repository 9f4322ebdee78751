// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/status"
)

// names are the IDs as a person reads them.
func names(ids []status.ID) []string {
	var all []string
	for _, id := range ids {
		all = append(all, id.String())
	}
	return all
}

func TestManifests(t *testing.T) {
	const a, b = "ConfigMap home/a", "Deployment.apps shop/b"
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"empty":            {"", nil},
		"comments":         {"# nothing\n---\n# still nothing\n---\n", nil},
		"null":             {"null\n---\n~\n", nil},
		"YAML":             {"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n", []string{a}},
		"namespace":        {"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: shop}\n", []string{b}},
		"empty namespace":  {`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": ""}}`, []string{a}},
		"other version":    {"{apiVersion: apps/v1beta1, kind: Deployment, metadata: {name: b, namespace: shop}}", []string{b}},
		"carriage returns": {"apiVersion: v1\r\nkind: ConfigMap\r\nmetadata:\r\n  name: a\r\n---\r\n", []string{a}},
		"byte order mark":  {"\ufeffapiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n", []string{a}},
		"no end of line":   {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}", []string{a}},
		"dashes in a text": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: |\n    ---\n    kind: no\n", []string{a}},
		"flow":             {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", []string{a}},
		"JSON":             {`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}`, []string{a}},
		"JSON, several": {`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
			{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b", "namespace": "shop"}}`, []string{a, b}},
		"YAML and JSON": {"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b, namespace: shop}\n--- # next\n" +
			`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}`, []string{b, a}},
		"twice":         {strings.Repeat("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n", 2), []string{a}},
		"anchors":       {"apiVersion: &v v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: *v}}\n", []string{a}},
		"empty list":    {"apiVersion: v1\nkind: List\nitems: []\n", nil},
		"no items":      {"apiVersion: v1\nkind: List\n", nil},
		"lists within":  {`{"kind": "List", "items": [{"kind": "ConfigMapList", "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]}, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "b", "namespace": "shop"}}]}`, []string{a, b}},
		"called a list": {"apiVersion: example.com/v1\nkind: AllowList\nmetadata: {name: l}\n", []string{"AllowList.example.com home/l"}},
		"name of dots":  {"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:x.y'}\n", []string{"ClusterRole.rbac.authorization.k8s.io home/system:x.y"}},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := readManifests([]string{"-"}, strings.NewReader(test.text), "home")
			if got := names(ids); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestManifestsThatAreBad(t *testing.T) {
	const good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n"
	for name, test := range map[string]struct{ text, want string }{
		"no YAML":           {good + "a: [", "standard input, document 2: error converting YAML to JSON: yaml: line 1"},
		"no JSON":           {`{"kind": "A" "B"}`, "standard input, document 1: json: invalid character"},
		"half a JSON":       {`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}} {"kind":`, "document 2: json: unexpected EOF"},
		"separator":         {good + "---x\n", "document 2: invalid Yaml document separator: x"},
		"key twice":         {good + "kind: A\nkind: B\n", `document 2: error converting YAML to JSON: yaml: unmarshal errors`},
		"a text":            {good + "hello", "document 2: not an object"},
		"an array":          {"- a\n", "document 1: not an object"},
		"no kind":           {"apiVersion: v1\nmetadata: {name: a}", "document 1: apiVersion or kind is missing"},
		"no apiVersion":     {"kind: A\nmetadata: {name: a}", "document 1: apiVersion or kind is missing"},
		"kind is a number":  {"apiVersion: v1\nkind: 5\nmetadata: {name: a}", "document 1: kind is 5: want a string"},
		"bad apiVersion":    {"apiVersion: a/b/c\nkind: A\nmetadata: {name: a}", "document 1: apiVersion: unexpected GroupVersion string: a/b/c"},
		"no metadata":       {good + "apiVersion: v1\nkind: Pod", "document 2: Pod: metadata.name is missing"},
		"metadata a text":   {"apiVersion: v1\nkind: Pod\nmetadata: x", "document 1: Pod: metadata is not an object"},
		"no name":           {"apiVersion: v1\nkind: Pod\nmetadata: {namespace: a}", "document 1: Pod: metadata.name is missing"},
		"name is a number":  {"apiVersion: v1\nkind: Pod\nmetadata: {name: 5}", "document 1: Pod: metadata.name is 5: want a string, perhaps in quotes"},
		"name of a path":    {"apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}", `document 1: Pod: metadata.name "a/b": may not contain`},
		"generated":         {"apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: a-}", "document 1: Job: metadata.generateName in place of metadata.name"},
		"namespace a list":  {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: [b]}", "document 1: Pod: metadata.namespace is [b]: want a string"},
		"no such namespace": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: A_}", `document 1: Pod a: metadata.namespace: "A_"`},
		"items a text":      {"kind: List\nitems: x", "document 1: items is not a list"},
		"item":              {good + "kind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: a}}, {kind: A}]", "document 2, item 2: apiVersion or kind is missing"},
		"all that is wrong": {"kind: A\n---\n5\n", "document 1: apiVersion or kind is missing\nstandard input, document 2: not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := readManifests([]string{"-"}, strings.NewReader(test.text), "home")
			if err == nil || !strings.Contains(err.Error(), test.want) || ids != nil {
				t.Errorf("%v, error %v, want %q in it", ids, err, test.want)
			}
		})
	}
}

func TestManifestsOfFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	object := func(name string) string { return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\n" }
	write("all/b.yml", object("b"))
	write("all/a.yaml", object("a"))
	write("all/c.json", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c"}}`)
	write("all/README.md", "not one")
	write("all/within/d.yaml", object("d"))
	single := write("single.txt", object("e")+"---\n"+object("a"))
	all := filepath.Join(dir, "all")

	ids, err := readManifests([]string{single, all, "-", single}, strings.NewReader(object("f")), "n")
	if want := []string{"Pod n/e", "Pod n/a", "Pod n/b", "Pod n/c", "Pod n/f"}; err != nil || !slices.Equal(names(ids), want) {
		t.Errorf("%q, %v; want %q", names(ids), err, want)
	}
	if ids, err := readManifests([]string{t.TempDir()}, nil, "n"); err != nil || ids != nil {
		t.Errorf("of an empty directory: %v, %v", ids, err)
	}
	if _, err := readManifests([]string{filepath.Join(dir, "missing")}, nil, "n"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "missing") {
		t.Errorf("of a missing file: %v", err)
	}
	bad := write("all/bad.yaml", object("x")+"---\nkind: A\n")
	_, err = readManifests([]string{all, "-", "-"}, strings.NewReader(""), "n")
	for _, want := range []string{bad + ", document 2: apiVersion", "standard input: it is given twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}
