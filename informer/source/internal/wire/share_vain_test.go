// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package wire

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// managedPod is a pod with two managed fields: those of a set of pods and those of its own.
func managedPod(i, set int, ownFirst bool) *corev1.Pod {
	entry := func(manager, fields string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}
	}
	entries := []metav1.ManagedFieldsEntry{
		entry("kube-controller-manager", fmt.Sprintf(`{"f:metadata":{"f:ownerReferences":{"k:{\"uid\":\"%d\"}":{}}}}`, set)),
		entry("kubelet", fmt.Sprintf(`{"f:status":{"f:podIPs":{"k:{\"ip\":\"10.0.%d.%d\"}":{}}}}`, i/256, i%256)),
	}
	if ownFirst {
		entries[0], entries[1] = entries[1], entries[0]
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i), ManagedFields: entries}}
}

// What becomes common after much that was not is found again, also where each object has
// at the same place something that is its own.
func TestShareFindsAgain(t *testing.T) {
	const alone, many, sets = 1500, 5000, 10
	js := decoderOf(t, reflect.TypeFor[corev1.Pod](), nil)
	for how, decoder := range map[string]func(*testing.T, *Share) func(*corev1.Pod) *corev1.Pod{
		"protobuf": func(t *testing.T, share *Share) func(*corev1.Pod) *corev1.Pod {
			d := sharingDecoder(t, share)
			return func(pod *corev1.Pod) *corev1.Pod { return decoded(t, d, pod) }
		},
		"JSON": func(t *testing.T, share *Share) func(*corev1.Pod) *corev1.Pod {
			return func(pod *corev1.Pod) *corev1.Pod { return podOf(t, js, toJSON(t, pod), share) }
		},
	} {
		for _, ownFirst := range []bool{false, true} {
			t.Run(fmt.Sprint(how, ", own first ", ownFirst), func(t *testing.T) {
				decode := decoder(t, NewShare())
				common := 0
				if ownFirst {
					common = 1
				}
				different := map[unsafe.Pointer]bool{}
				var kept []*corev1.Pod
				for i := range alone + many {
					set := i
					if i >= alone {
						set = -i % sets
					}
					pod := decode(managedPod(i, set, ownFirst))
					kept = append(kept, pod)
					if i >= alone+many/2 {
						different[address(pod.ManagedFields[common].FieldsV1)] = true
					}
				}
				if len(different) > 2*sets {
					t.Errorf("%d in memory of the last %d, which are %d", len(different), many/2, sets)
				}
				runtime.KeepAlive(kept)
			})
		}
	}
}

// So it is where what is too short to be looked for comes between.
func TestShareFindsAgainUnstructured(t *testing.T) {
	for name, object := range map[string]string{
		"its own behind":  `{"list":[{"type":"%s"},{"type":"unique-%d"}]}`,
		"its own before":  `{"list":[{"type":"unique-%[2]d"},{"type":"%[1]s"}]}`,
		"a short one":     `{"list":[{"type":"%s"},{}],"number":%d}`,
		"short ones":      `{"list":[{},{},{},{"type":"%s"}],"number":%d}`,
		"four of its own": `{"list":[{"type":"%[1]s"},{"type":"a-%[2]d"},{"type":"b-%[2]d"},{"type":"c-%[2]d"}]}`,
	} {
		share := NewShare()
		n := 0
		one := func(common string) any {
			n++
			for _, v := range unstructuredOf(t, fmt.Sprintf(object, common, n), share)["list"].([]any) {
				if m := v.(map[string]any); m["type"] == common {
					return m
				}
			}
			t.Fatalf("%s: nothing in common", name)
			return nil
		}
		for i := range 3000 {
			one(fmt.Sprint("first-", i))
		}
		var kept []any
		different := map[unsafe.Pointer]bool{}
		for i := range 10000 {
			kept = append(kept, one("the same in all of them"))
			if i >= 5000 {
				different[address(kept[i])] = true
			}
		}
		if len(different) > 500 { // at least nine of ten are found
			t.Errorf("%s: %d in memory of 5000 that are equal", name, len(different))
		}
		runtime.KeepAlive(kept)
	}
}

// Names that begin alike, as many do, have places of their own.
func TestPlacesOfNames(t *testing.T) {
	at := func(name string) uint64 { return step(0, []byte(name)) % placesSize }
	for _, pair := range [][2]string{{"env", "eqv"}, {"limits", "liable"}, {"volumes", "vobcdef"}} {
		if at(pair[0]) == at(pair[1]) {
			t.Errorf("%s and %s have a place in common", pair[0], pair[1])
		}
	}
	names, places := 0, map[uint64]int{}
	for length := range 9 {
		for a := 'a'; a <= 'z'; a++ {
			for b := 'a'; b <= 'z'; b++ {
				names++
				places[at("ab"+strings.Repeat("x", length)+string(a)+string(b))]++
			}
		}
	}
	most := 0
	for _, n := range places {
		most = max(most, n)
	}
	if len(places) < placesSize/2 || most > 16 {
		t.Errorf("%d names have %d places, %d of them the same", names, len(places), most)
	}
	// So do those of elements in one another.
	nested := map[uint64]bool{}
	for place, depth := uint64(1), 0; depth < 100; depth++ {
		place = step(place, nil)
		nested[place%placesSize] = true
	}
	if len(nested) < 90 {
		t.Errorf("%d places of 100 elements in one another", len(nested))
	}
}
