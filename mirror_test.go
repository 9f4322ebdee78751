// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package apiary_test

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The mirror of the README, started again, makes no list: neither if nothing has happened
// since its first list, nor if something has, nor if there is nothing at all.
func TestReadmeMirrorResumes(t *testing.T) {
	for name, names := range map[string][]string{"two pods": {"a", "b"}, "no pods": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, db := fakeapi.New(), newDatabase()
				for _, name := range names {
					addPod(t, api, name)
				}
				if lists := runMirror(t, api, db); lists == 0 || len(db.rows) != len(names) {
					t.Fatalf("%d lists, rows %v", lists, db.rows)
				}
				rows := maps.Clone(db.rows)
				for range 2 {
					if lists := runMirror(t, api, db); lists > 0 || !maps.Equal(db.rows, rows) {
						t.Errorf("%d lists in a quiet collection, rows %v", lists, db.rows)
					}
				}
				addPod(t, api, "c")
				if lists := runMirror(t, api, db); lists > 0 || len(db.rows) != len(names)+1 {
					t.Errorf("%d lists after a change, rows %v", lists, db.rows)
				}
			})
		})
	}
}

func addPod(t *testing.T, api *fakeapi.Server, name string) {
	t.Helper()
	if err := api.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// runMirror runs the mirror for less than the time in which a bookmark comes, and returns
// how many lists it made.
func runMirror(t *testing.T, api *fakeapi.Server, db *database) (lists int) {
	t.Helper()
	before := len(api.Requests())
	app := hive.New(
		cells.FakeClientWith(func() *fakeapi.Server { return api }),
		cell.Provide(func() *database { return db }),
		cell.Invoke(mirrorPods),
	)
	log := slog.New(slog.DiscardHandler)
	if err := app.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if err := app.Stop(log, context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, r := range api.Requests()[before:] {
		if r.Verb == "list" {
			lists++
		}
	}
	return lists
}
