// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/apiary-go/apiary/status"
)

// rulesPageRow is a row of docs/status-table.md. See testdata/table/deployment.yaml.
type rulesPageRow struct {
	State  string                   `json:"state"`
	Apiary status.Status            `json:"apiary"`
	With   map[string]status.Status `json:"with"`
	Why    string                   `json:"why"`
	Object map[string]any           `json:"object"`
}

// rulesOptions are the options that the page shows.
var rulesOptions = map[string]*status.Rules{
	"JobCompleted":      {Jobs: status.JobCompleted},
	"LoadBalancers":     {LoadBalancers: true},
	"PausedDeployments": {PausedDeployments: true},
	"Strict":            {Strict: true},
	"UnboundClaims":     {UnboundClaims: true},
	"WellKnown":         {WellKnown: true},
}

// rulesAll has all of rulesOptions.
var rulesAll = &status.Rules{Jobs: status.JobCompleted, LoadBalancers: true, PausedDeployments: true, Strict: true, UnboundClaims: true, WellKnown: true}

// rulesPage returns the rows of the page by the names of their files, without .yaml.
func rulesPage(t testing.TB) map[string][]rulesPageRow {
	t.Helper()
	files, err := filepath.Glob("testdata/table/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	page := map[string][]rulesPageRow{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			data, err = yaml.YAMLToJSON(data)
		}
		var rows []rulesPageRow
		if err == nil {
			err = utiljson.Unmarshal(data, &rows)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		page[file] = rows
	}
	return page
}

// The statuses of docs/status-table.md are those of the rules, for whole objects and for
// what Trim and a mask leave. An option without an entry makes no difference.
func TestRulesPage(t *testing.T) {
	for file, rows := range rulesPage(t) {
		for _, row := range rows {
			obj := &unstructured.Unstructured{Object: row.Object}
			name := fmt.Sprintf("%s: %s, %s", filepath.Base(file), obj.GetKind(), row.State)
			check := func(option string, rules *status.Rules, want status.Status) {
				got, err := rules.Compute(obj, nil, time.Now())
				if err != nil || got.Status != want {
					t.Errorf("%s, %s: got %+v, %v, want %s", name, option, got, err, want)
				}
				if !rulesCheckMasked(t, rules, obj, time.Now(), true) {
					t.Errorf("%s: cannot be read", name)
				}
			}
			check("default", nil, row.Apiary)
			for option, rules := range rulesOptions {
				want, differs := row.With[option]
				if !differs {
					want = row.Apiary
				} else if want == row.Apiary {
					t.Errorf("%s: %s makes no difference", name, option)
				}
				check(option, rules, want)
			}
			for option := range row.With {
				if rulesOptions[option] == nil {
					t.Errorf("%s: there is no option %s", name, option)
				}
			}
		}
	}
}
