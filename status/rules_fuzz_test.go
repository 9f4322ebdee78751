// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/apiary-go/apiary/status"
	"github.com/apiary-go/apiary/store"
)

func rulesSorted(names []string) []string {
	slices.Sort(names)
	return names
}

func rulesText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Whatever the bytes are: Compute and Trim do not panic, a panic within is never
// what an error is about, and neither Trim nor a mask takes what matters.
func FuzzCompute(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`,
		`{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable"}]}}`,
		`{"apiVersion":"v1","kind":"Pod","status":{"phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{"reason":"CrashLoopBackOff"}}},1,null]}}`,
		`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"generation":1},"spec":{"replicas":2.0},"status":{"observedGeneration":"1","replicas":2}}`,
		`{"apiVersion":"apps/v1","kind":"StatefulSet","spec":{"updateStrategy":{"rollingUpdate":{"partition":1e3}}},"status":{"replicas":null}}`,
		`{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{"generation":1},"status":{"observedGeneration":null}}`,
		`{"apiVersion":"apps/v1","kind":"ReplicaSet","spec":[],"status":{"conditions":{}}}`,
		`{"apiVersion":"batch/v1","kind":"Job","spec":{"suspend":"yes"},"status":{"conditions":[{"type":"Complete","status":true}]}}`,
		`{"apiVersion":"v1","kind":"Service","spec":{"type":"LoadBalancer"}}`,
		`{"apiVersion":"v1","kind":"PersistentVolumeClaim","status":{"phase":"Pending"}}`,
		`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","status":{"conditions":[{"type":"Established","status":"True"}]}}`,
		`{"apiVersion":"example.com/v1","kind":"Widget","metadata":7,"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`,
	} {
		f.Add([]byte(seed))
	}
	wellKnown := map[any]bool{} // one object of each kind is enough: TestRulesPage has all
	for _, rows := range rulesPage(f) {
		for _, row := range rows {
			if kind := row.Object["kind"]; row.With["WellKnown"] != "" && row.Object["status"] != nil && !wellKnown[kind] {
				wellKnown[kind] = true
				seed, err := json.Marshal(row.Object)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(seed)
			}
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 10, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		obj := &unstructured.Unstructured{}
		if err := utiljson.Unmarshal(data, &obj.Object); err != nil {
			t.Skip()
		}
		for _, rules := range []*status.Rules{nil, rulesAll} {
			want, wantErr := rules.Compute(obj, nil, now)
			if errors.As(wantErr, new(*store.PanicError)) {
				t.Fatal(wantErr)
			}
			if (wantErr == nil) != (want.Status != "") {
				t.Fatalf("got %+v, %v", want, wantErr)
			}
			trimmed := obj.DeepCopy()
			rules.Trim(trimmed)
			got, err := rules.Compute(trimmed, nil, now)
			if got != want || rulesText(err) != rulesText(wantErr) {
				t.Fatalf("got %+v, %v of the trimmed object, %+v, %v of the object", got, err, want, wantErr)
			}
			if obj.Object != nil {
				rulesCheckMasked(t, rules, obj, now, false)
			}
		}
	})
}
