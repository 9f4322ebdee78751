// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// However many IDs cannot name an object, each says so; and those of a kind without
// namespaces do not.
func TestStatusManyWithoutNamespace(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		var ids []status.ID
		for i := range 5 {
			ids = append(ids, idOf("Pod", "", fmt.Sprint("p", i)), idOf("Node", "", fmt.Sprint("n", i)))
		}
		w := r.watch(ids...)
		synctest.Wait()
		for _, s := range w.Statuses() {
			switch {
			case s.ID.GroupKind.Kind == "Node":
				if s.Err != nil || (s.Status == status.Current) != (s.ID.Name == "n0") || s.Status == status.Unknown {
					r.Errorf("got %v", s)
				}
			case s.Status != status.Unknown || s.Reason != status.InvalidID || s.Err == nil:
				r.Errorf("got %v", s)
			}
		}
		synced := false
		for ev := range w.Events() {
			if synced = ev.Type == status.Synced; synced {
				break
			}
		}
		if !synced {
			r.Error("no Synced")
		}
	}, podIn(corev1.PodRunning, "a", "p0", 0), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n0"}})
}

// What the server does not select by name is read by name.
func TestStatusNotSelectable(t *testing.T) {
	playStatus(t, status.Config{}, func(r *statusRig) {
		r.api.Intercept(func(_ context.Context, req fakeapi.Request) error {
			if req.Options.FieldSelector != "" {
				return apierrors.NewBadRequest("field label not supported: metadata.name")
			}
			return nil
		})
		w := r.watchFor(time.Hour, idOf("Pod", "a", "one"))
		r.events(w, "one Current", "synced")
		r.update(podIn(corev1.PodPending, "a", "one", 0))
		r.events(w, "one InProgress")
		r.api.Intercept(nil)
		time.Sleep(5 * time.Minute)
		since := len(r.api.Requests())
		time.Sleep(10 * time.Minute)
		for _, text := range r.asked(&since) {
			if text != "watch pods a metadata.name=one" {
				r.Errorf("asks %q although it may watch", text)
			}
		}
		r.is(w, "one InProgress")
	}, podIn(corev1.PodRunning, "a", "one", 0))
}

// What the engine reads is listed while it reads it, also what a function of the
// configuration makes. A second use has the same name, and a recording ends with the first.
func TestStatusScopesComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scope.jsonl")
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(podIn(corev1.PodRunning, "a", "one", 0)); err != nil {
			t.Fatal(err)
		}
		made := 0
		cfg := status.Config{Linger: time.Second, NewResource: func(lc cell.Lifecycle, lw cache.ListerWatcher, opts ...resource.Option) resource.Resource[*unstructured.Unstructured] {
			made++
			return resource.New[*unstructured.Unstructured](lc, lw, opts...)
		}}
		var (
			all    *Resources
			engine *status.Engine
		)
		h := hive.New(withFake(api), StatusWith(cfg), cell.Invoke(func(r *Resources, e *status.Engine) { all, engine = r, e }))
		if err := h.Start(quiet(), t.Context()); err != nil {
			t.Fatal(err)
		}
		before := made // New checks the configuration
		for use := range 2 {
			if got := summary(all.All()); len(got) != 0 {
				t.Errorf("use %d: before it there is %q", use, got)
			}
			w, err := engine.Watch(t.Context(), idOf("Pod", "a", "one"))
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			expect(t, summary(all.All()), "status Pod a/one (Pod a/one): ok, synced, 1 object at the last list")
			if f, err := all.find("Pod a/one"); err != nil {
				t.Error(err)
			} else if err := f.startRecording(fmt.Sprint(path, use)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			w.Close()
			time.Sleep(time.Minute)
			data, err := os.ReadFile(fmt.Sprint(path, use))
			if err != nil || !strings.Contains(string(data), `"name":"one"`) || !strings.Contains(string(data), "the recording was stopped") {
				t.Errorf("recorded is %s, error %v", data, err)
			}
		}
		if made != before+2 {
			t.Errorf("the function was called %d times, want %d", made, before+2)
		}
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
	})
}
