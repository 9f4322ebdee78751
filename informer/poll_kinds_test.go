// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

const polled = `
list rv=100 a@1 b@2
watch error 405
watch error 405
list rv=110 a@1 b@105
stop 12s
`

// TestPollIntervalIsPassedOn: what stands on a Reflector polls as often as it is
// told to.
func TestPollIntervalIsPassedOn(t *testing.T) {
	m := playMirror(t, polled, func(c *informer.InformerConfig[informertest.Object]) { c.PollInterval = 10 * time.Second })
	if want := []string{"add a@1 (initial)", "add b@2 (initial)", "update b@105 was b@2"}; !slices.Equal(m.calls, want) {
		t.Errorf("the mirror's handler: %q, want %q", m.calls, want)
	}
	b := playBatches(t, polled, func(c *informer.BatcherConfig[informertest.Object]) { c.PollInterval = 10 * time.Second })
	if b.lists() != 2 || b.stats.Snapshots != 2 || b.stats.Reflector.Polling == nil {
		t.Errorf("the Batcher: %d lists, %+v", b.lists(), b.stats)
	}
}

// listedVersions lists through FromListerWatcher, and decodes nothing.
func listedVersions(t *testing.T, lw cache.ListerWatcher) map[string]string {
	t.Helper()
	versions := map[string]string{}
	_, err := informer.FromListerWatcher(lw, func(runtime.Object) (int, error) {
		return 0, errors.New("decoded")
	}).List(context.Background(), metav1.ListOptions{}, func(i informer.Item[int]) error {
		versions[i.Meta().Key.Name] = i.Meta().Version
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

// unspeakable has no JSON.
type unspeakable struct{ *corev1.Pod }

func (unspeakable) MarshalJSON() ([]byte, error) { panic("no") }

// TestVersionsFromContent: an object of a list that has no version has that of its
// content in its Meta, one that has keeps it, and nothing is written into either.
func TestVersionsFromContent(t *testing.T) {
	pods := &corev1.PodList{Items: []corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, {ObjectMeta: metav1.ObjectMeta{Name: "b", ResourceVersion: "7"}},
	}}
	want, err := store.ContentVersion(&pods.Items[0])
	if err != nil {
		t.Fatal(err)
	}
	before := listedVersions(t, listOf(pods))
	if before["a"] != want || before["b"] != "7" {
		t.Errorf("versions %v, want %q", before, want)
	}
	if pods.Items[0].ResourceVersion != "" {
		t.Error("the object was given a version")
	}
	if again := listedVersions(t, listOf(pods)); again["a"] != want {
		t.Errorf("%q is now %q", want, again["a"])
	}
	pods.Items[0].Labels = map[string]string{"new": "yes"}
	if after := listedVersions(t, listOf(pods)); after["a"] == want || after["a"] == "" {
		t.Errorf("the version of a changed object is %q", after["a"])
	}
	raw := &corev1.List{Items: []runtime.RawExtension{{Object: unspeakable{&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "c"}}}}}}
	if got := listedVersions(t, listOf(raw)); len(got) != 1 || got["c"] != "" {
		t.Errorf("versions %v of what cannot be encoded", got)
	}
}
