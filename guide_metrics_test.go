// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive/cell"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/resource"
)

// docs/running.md has each metric, and no other.
func TestGuideNamesMetrics(t *testing.T) {
	guide, err := os.ReadFile("docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	labels := describedMetrics()
	for name := range labels {
		short := "`" + name[strings.Index(name[len("apiary_"):], "_")+len("apiary_")+1:]
		if !strings.Contains(string(guide), short) {
			t.Errorf("docs/running.md lacks %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`apiary_\w+`).FindAllString(string(guide), -1) {
		name = strings.TrimSuffix(strings.TrimSuffix(name, "_count"), "_sum")
		if labels[name] == nil && !strings.HasSuffix(name, "_") {
			t.Errorf("docs/running.md has %s, which does not exist", name)
		}
	}
}

// docs/running.md: the alerts use functions, metrics, labels and values that exist.
func TestGuideAlerts(t *testing.T) {
	guide, err := os.ReadFile("docs/running.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```promql\n(.*?)^```").FindAllStringSubmatch(string(guide), -1)
	labels, values := describedMetrics(), gatheredValues(t)
	var (
		comment  = regexp.MustCompile(`(?m)^#.*$`)
		selector = regexp.MustCompile(`(apiary_\w+)(?:\{(.*?)\})?`)
		matcher  = regexp.MustCompile(`^(\w+)="(\w+)"$`)
		grouping = regexp.MustCompile(`\b(?:on|ignoring) \((.*?)\)`)
		rest     = regexp.MustCompile(`[A-Za-z_]{2,}`)
		words    = []string{"unless", "or", "and", "time", "avg_over_time", "min_over_time", "increase"}
	)
	for _, block := range blocks {
		text := comment.ReplaceAllString(block[1], "")
		for _, s := range selector.FindAllStringSubmatch(text, -1) {
			name := s[1]
			if labels[name] == nil {
				t.Errorf("there is no metric %s", name)
			}
			for _, m := range strings.FieldsFunc(s[2], func(r rune) bool { return r == ',' }) {
				parts := matcher.FindStringSubmatch(strings.TrimSpace(m))
				if parts == nil || !slices.Contains(labels[name], parts[1]) {
					t.Errorf("%s has no label as in %s, it has %q", name, m, labels[name])
				} else if value := name + " " + parts[1] + " " + parts[2]; !values[value] {
					t.Errorf("%s has no value as in %s", name, m)
				}
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(text, -1) {
			if g[1] != "instance, resource" {
				t.Errorf("(%s): every metric has instance and resource only", g[1])
			}
		}
		for _, word := range rest.FindAllString(grouping.ReplaceAllString(selector.ReplaceAllString(text, ""), ""), -1) {
			if !slices.Contains(words, word) {
				t.Errorf("%s is neither a metric nor one of %q", word, words)
			}
		}
		for _, pair := range []string{"()", "[]", "{}"} {
			if strings.Count(text, pair[:1]) != strings.Count(text, pair[1:]) {
				t.Errorf("%q are not in pairs", pair)
			}
		}
	}
	if len(blocks) == 0 {
		t.Error("there are no alerts")
	}
}

// describedMetrics returns the labels of each metric.
func describedMetrics() map[string][]string {
	described := make(chan *prometheus.Desc, 100)
	(&cells.ResourceMetrics{}).Describe(described)
	close(described)
	labels := map[string][]string{}
	for desc := range described {
		parts := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{(.*?)\}`).FindStringSubmatch(desc.String())
		labels[parts[1]] = strings.Split(parts[2], ",")
	}
	return labels
}

// gatheredValues has "metric label value" for each value in an application with a resource, a
// mirror and a push.
func gatheredValues(t *testing.T) map[string]bool {
	t.Helper()
	values := map[string]bool{}
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		_, err := runApp(t, "", cells.FakeClient, cells.Metrics, cell.SimpleHealthCell,
			cell.Provide(newDatabase, func() prometheus.Registerer { return registry }, func() catalogAPI { return &memoryCatalog{} }, newCatalog),
			cells.Push[*corev1.Pod, *catalog](), cells.Resource[*corev1.Pod](), cell.Invoke(mirrorPods),
			cell.Invoke(func(lc cell.Lifecycle, _ resource.Resource[*corev1.Pod]) {
				lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
					families, err := registry.Gather()
					for _, family := range families {
						for _, metric := range family.GetMetric() {
							for _, label := range metric.GetLabel() {
								values[family.GetName()+" "+label.GetName()+" "+label.GetValue()] = true
							}
						}
					}
					return err
				}})
			}))
		if err != nil {
			t.Error(err)
		}
	})
	return values
}
