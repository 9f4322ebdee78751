// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/status"
)

// rulesEvent is a watch with one event, as a server sends it.
type rulesEvent struct {
	cache.ListerWatcher
	body []byte
}

func (e rulesEvent) Stream(context.Context, metav1.ListOptions) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(e.body)), nil
}
func (e rulesEvent) ObjectType() runtime.Object { return &unstructured.Unstructured{} }

// rulesRead returns obj as it is read with the options.
func rulesRead(t rapid.TB, obj *unstructured.Unstructured, opts ...source.SourceOption) (read *unstructured.Unstructured, err error) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"type": "ADDED", "object": obj.Object})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := source.FromListerWatcher[*unstructured.Unstructured](rulesEvent{body: body}, nil, opts...).Watch(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Stop()
	event, err := stream.Next()
	if err != nil {
		return nil, err
	}
	return event.Item.Decode()
}

// rulesNamed returns a copy of obj that has a name, unless its metadata is nothing that
// could have one.
func rulesNamed(obj *unstructured.Unstructured) *unstructured.Unstructured {
	named := &unstructured.Unstructured{Object: rulesRenumbered(obj.Object, func(n int64) any { return n }).(map[string]any)}
	if named.Object["metadata"] == nil {
		named.Object["metadata"] = map[string]any{}
	}
	if metadata, ok := named.Object["metadata"].(map[string]any); ok && metadata["name"] == nil {
		metadata["name"] = "x"
	}
	return named
}

// rulesMasked reads obj whole and with the mask of its kind. It returns nil if it cannot
// be read at all.
func rulesMasked(t rapid.TB, rules *status.Rules, obj *unstructured.Unstructured) (whole, masked *unstructured.Unstructured) {
	t.Helper()
	var opts []source.SourceOption
	if names, is := status.TrimMask(rules, obj.GroupVersionKind().GroupKind()); is {
		opts = append(opts, source.WithFields(names...))
	}
	named := rulesNamed(obj)
	whole, err := rulesRead(t, named)
	masked, maskedErr := rulesRead(t, named, opts...)
	if rulesText(err) != rulesText(maskedErr) {
		t.Fatalf("%v: whole the error is %v, masked %v", named.Object, err, maskedErr)
	}
	if err != nil {
		return nil, nil
	}
	return whole, masked
}

// rulesCheckMasked checks that it makes no difference to Compute whether obj was read
// with a mask, and none to Trim if it is well-formed. It reports whether obj can be read.
func rulesCheckMasked(t rapid.TB, rules *status.Rules, obj *unstructured.Unstructured, now time.Time, wellFormed bool) bool {
	t.Helper()
	whole, masked := rulesMasked(t, rules, obj)
	if whole == nil {
		return false
	}
	want, wantErr := rules.Compute(whole, nil, now)
	rules.Trim(whole)
	rules.Trim(masked)
	got, err := rules.Compute(masked, nil, now)
	if got != want || rulesText(err) != rulesText(wantErr) {
		t.Errorf("%v: got %+v, %v of the masked object, %+v, %v of the object", obj.Object, got, err, want, wantErr)
	}
	if wellFormed && !reflect.DeepEqual(masked.Object, whole.Object) {
		t.Errorf("trimmed it is\n%v\nmasked and trimmed\n%v", whole.Object, masked.Object)
	}
	return true
}

// What a mask leaves out no rule reads, be the object well-formed or not.
func TestMaskTakesWhatNoRuleReads(t *testing.T) {
	keep := rapid.SliceOfN(rapid.SampledFrom([]string{
		"*", "spec", "status.podIP", "status.containerStatuses", "status.containerStatuses.image", "status.images", "spec.updateStrategy.type",
		"metadata.annotations.a", "data", "data.a", "spec.replicas.no", "metadata.labels[a]", "data.[", "]",
	}), 0, 2)
	check := func(name string, objects *rapid.Generator[*unstructured.Unstructured], wellFormed bool) {
		t.Run(name, func(t *testing.T) {
			read, left := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				obj := objects.Draw(t, "object")
				rules := &status.Rules{}
				if rapid.Bool().Draw(t, "options") {
					*rules = *rulesAll
				}
				rules.Strict = rapid.Bool().Draw(t, "strict")
				if kind := obj.GroupVersionKind().GroupKind(); kind.Kind != "" {
					rules.Keep = map[schema.GroupKind][]string{kind: keep.Draw(t, "keep")}
				}
				if err := rules.Validate(); err != nil {
					t.Fatal(err)
				}
				if rulesCheckMasked(t, rules, obj, time.Now(), wellFormed) {
					read++
				} else {
					left++
				}
			})
			if read < left {
				t.Errorf("%d objects were read, %d were not", read, left)
			}
		})
	}
	check("well-formed", rulesAnyObject, true)
	check("spoilt", rulesSpoilt, false)
}

// Fields that Trim removes are not decoded, except the images of a Node: a mask names
// the fields to keep, not those to remove.
func TestMaskLeavesOut(t *testing.T) {
	const rest = `annotations: {x: y}, managedFields: [{manager: m}]}, data: {a: b}, spec: {replicas: 1, nodeName: n, containers: [{name: a}], template: {a: b}}, `
	for _, object := range []string{
		`v1 Pod {metadata: {name: x, labels: {a: b}, ` + rest + `status: {phase: p, podIP: i, containerStatuses: [{name: a, image: b}, null, {name: b}]}}`,
		`apps/v1 Deployment {metadata: {name: x, generation: 1, ` + rest + `status: {replicas: 1}}`,
		`v1 Secret {metadata: {name: x, ` + rest + `type: Opaque}`,
		`example.com/v1 Widget {metadata: {name: x, ` + rest + `status: {a: {b: c}}}`,
	} {
		whole, masked := rulesMasked(t, nil, rulesObject(t, object))
		(*status.Rules)(nil).Trim(whole)
		if !reflect.DeepEqual(masked.Object, whole.Object) {
			t.Errorf("masked it is\n%v\ntrimmed\n%v", masked.Object, whole.Object)
		}
	}
}
