// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/clitest"
	"github.com/apiary-go/apiary/store"
)

// rig is the program and an API server in memory, in a bubble of synctest, in which
// time passes only when everything waits for it.
type rig struct {
	t    *testing.T
	api  *fakeapi.Server
	path string
	log  *clitest.Output
}

func inRig(t *testing.T, test func(r *rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, api: fakeapi.New(), path: filepath.Join(dir, "mirror.db"), log: clitest.NewOutput()}
		test(r)
		r.api.Disconnect()
	})
}

// run runs the program on the file while during runs, and a minute before and after
// it, and returns what it printed. During may be nil.
func (r *rig) run(during func(), resources ...string) string {
	r.t.Helper()
	collections, err := parseCollections("", resources)
	if err != nil {
		r.t.Fatal(err)
	}
	config := r.api.Config()
	db, err := openDatabase(r.path, config.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	out := clitest.NewOutput()
	ended := make(chan error)
	go func() {
		ended <- follow(ctx, config, db, collections, &printer{out: out, verbose: true}, slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	}()
	r.pass(time.Minute)
	if during != nil {
		during()
		r.pass(time.Minute)
	}
	begin := time.Now()
	cancel()
	if err := <-ended; err != nil {
		r.t.Error(err)
	}
	if took := time.Since(begin); took > time.Second {
		r.t.Errorf("the end took %v", took)
	}
	if err := db.close(); err != nil {
		r.t.Error(err)
	}
	return out.String()
}

func (r *rig) pass(d time.Duration) {
	time.Sleep(d) // of the bubble
	synctest.Wait()
}

func (r *rig) add(objects ...runtime.Object) {
	r.t.Helper()
	if err := r.api.Add(objects...); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(objects ...runtime.Object) {
	r.t.Helper()
	if err := r.api.Remove(objects...); err != nil {
		r.t.Fatal(err)
	}
}

// lists returns how many list requests there were.
func (r *rig) lists() (n int) {
	for _, req := range r.api.Requests() {
		if req.Verb == "list" {
			n++
		}
	}
	return n
}

func (r *rig) expect(text string, parts ...string) {
	r.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			r.t.Errorf("%q is not in what was printed:\n%s", part, text)
		}
	}
}

// rows returns the data of each config map in the file.
func (r *rig) rows() map[string]string {
	r.t.Helper()
	db, err := openBolt(r.path, true)
	if err != nil {
		r.t.Fatal(err)
	}
	rows := map[string]string{}
	_, err = db.read("configmaps.v1", func(meta store.Meta, data []byte) error {
		var obj corev1.ConfigMap
		if err := json.Unmarshal(data, &obj); err != nil {
			return err
		}
		if meta != (store.Meta{Key: meta.Key, UID: obj.UID, Version: obj.ResourceVersion}) {
			r.t.Errorf("%v is the row of %s at version %s", meta, obj.UID, obj.ResourceVersion)
		}
		if obj.ManagedFields != nil {
			r.t.Errorf("%v has managed fields", meta)
		}
		rows[meta.Key.String()] = obj.Data["is"]
		return nil
	})
	if err := errors.Join(err, db.close()); err != nil {
		r.t.Fatal(err)
	}
	return rows
}

func configMap(name, is string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name,
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "test"}},
		},
		Data: map[string]string{"is": is},
	}
}

// What is there, and what happens.
func TestMirror(t *testing.T) {
	inRig(t, func(r *rig) {
		r.add(configMap("a", "1"), configMap("b", "1"))
		text := r.run(func() {
			r.add(configMap("a", "2"), configMap("c", "1"))
			r.remove(configMap("b", ""))
		}, "configmaps", "pods")
		r.expect(text,
			"Mirroring configmaps.v1, pods.v1 of http://fake.invalid to "+r.path,
			"configmaps.v1: listed: 2 objects, 2 written, 0 deleted\n",
			"pods.v1: listed: 0 objects, 0 written, 0 deleted\n",
			"configmaps.v1: wrote shop/c at version ", "configmaps.v1: deleted shop/b\n",
			"configmaps.v1: 2 objects, 4 written, 1 deleted, 1 list, will resume from version ",
		)
		if got := fmt.Sprint(r.rows()); got != "map[shop/a:2 shop/c:1]" {
			t.Errorf("the file has %s", got)
		}
		if r.log.String() != "" {
			t.Errorf("this was logged:\n%s", r.log)
		}
	})
}

// After a restart it writes what has changed, and lists only if it must.
func TestRestart(t *testing.T) {
	inRig(t, func(r *rig) {
		r.add(configMap("a", "1"), configMap("b", "1"), configMap("c", "1"))
		r.expect(r.run(nil, "configmaps"), "3 written, 0 deleted, 1 list, will resume")

		r.expect(r.run(nil, "configmaps"), "resumed from version", "3 objects, 0 written, 0 deleted, 0 lists")

		r.remove(configMap("c", ""))
		r.add(configMap("a", "2"))
		r.expect(r.run(nil, "configmaps"), "2 objects, 1 written, 1 deleted, 0 lists")
		if n := r.lists(); n != 1 {
			t.Errorf("there were %d list requests, want only that of the first run", n)
		}

		// The server has forgotten the version: one list, and nothing is written
		// that is there already.
		r.api.Compact()
		r.add(configMap("a", "3"))
		r.api.Compact()
		r.expect(r.run(nil, "configmaps"), "listed, since the server no longer has the version to resume from: 2 objects, 1 written, 0 deleted\n",
			"2 objects, 1 written, 0 deleted, 1 list, will resume")

		// As above, while it runs, and with a deletion that only the list shows.
		text := r.run(func() {
			r.api.Intercept(func(context.Context, fakeapi.Request) error { return errors.New("connection refused") })
			r.api.Disconnect()
			r.remove(configMap("b", ""))
			r.add(configMap("d", "1"))
			r.api.Compact()
			r.pass(time.Second)
			r.api.Intercept(nil)
		}, "configmaps")
		r.expect(text, "resumed from version", ": 2 objects, 1 written, 1 deleted\n", "2 objects, 1 written, 1 deleted, 1 list, will resume")
		if got := fmt.Sprint(r.rows()); got != "map[shop/a:3 shop/d:1]" {
			t.Errorf("the file has %s", got)
		}
	})
}

// An object that was created anew under its name is another one, also if that
// happened between two runs.
func TestCreatedAnew(t *testing.T) {
	inRig(t, func(r *rig) {
		r.add(configMap("a", "1"))
		r.run(nil, "configmaps")
		r.remove(configMap("a", ""))
		r.add(configMap("a", "2"))
		r.expect(r.run(nil, "configmaps"), "1 object, 1 written, 1 deleted, 0 lists")
		if got := fmt.Sprint(r.rows()); got != "map[shop/a:2]" {
			t.Errorf("the file has %s", got)
		}
	})
}

// What is not allowed, or not there, is said, and what is allowed later is mirrored.
// The other collections do not wait for it.
func TestForbidden(t *testing.T) {
	inRig(t, func(r *rig) {
		r.add(configMap("a", "1"))
		r.api.Intercept(func(_ context.Context, q fakeapi.Request) error {
			if q.Resource.Resource != "pods" {
				return nil
			}
			return apierrors.NewForbidden(q.Resource.GroupResource(), "", errors.New("not for you"))
		})
		text := r.run(func() {
			r.api.Intercept(nil)
			r.pass(5 * time.Minute)
		}, "configmaps", "pods", "gadgets.v1.example.com")
		r.expect(text, "configmaps.v1: listed: 1 object", "pods.v1: listed: 0 objects", "gadgets.v1.example.com: 0 objects", "will list at the next start")
		r.expect(r.log.String(), "not for you", "by a role and a role binding", "install the custom resource definition")
	})
}

// A transaction that fails is tried again.
func TestFileRefuses(t *testing.T) {
	inRig(t, func(r *rig) {
		name := strings.Repeat("x", 33000) // longer than a key may be
		r.add(configMap("a", "1"), configMap(name, "1"))
		text := r.run(func() { r.remove(configMap(name, "")) }, "configmaps")
		r.expect(r.log.String(), "Cannot write, will try again", "key too large")
		r.expect(text, "configmaps.v1: listed: 1 object, 1 written")
		if got := fmt.Sprint(r.rows()); got != "map[shop/a:1]" {
			t.Errorf("the file has %s", got)
		}
	})
}

// The version to resume from that is saved is forgotten at once when the server has
// no use for it: who is killed during the list that follows must list, too.
func TestForgottenVersion(t *testing.T) {
	inRig(t, func(r *rig) {
		r.add(configMap("a", "1"))
		r.run(nil, "configmaps")
		r.add(configMap("a", "2"))
		r.api.Compact()
		r.api.Intercept(func(_ context.Context, q fakeapi.Request) error {
			if q.Verb == "list" {
				return apierrors.NewInternalError(errors.New("out of order"))
			}
			return nil
		})
		r.expect(r.run(nil, "configmaps"), "will list at the next start")
		var out bytes.Buffer
		if err := dump(r.path, nil, &out); err != nil {
			t.Fatal(err)
		}
		r.expect(out.String(), "configmaps.v1: 1 object, version to resume from: none")
	})
}

func TestDump(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mirror.db")
	db := open(t, path)
	for _, m := range []store.Meta{meta("b", "2", "10"), meta("a", "1", "7")} {
		edit(t, db, putRow("pods.v1", m.Key.String(), string(encodeRow(m, []byte("{}"))), "12"))
	}
	edit(t, db, func(tx *bbolt.Tx) error {
		_, err := tx.Bucket(rowsBucket).CreateBucket([]byte("shop/services.v1"))
		return err
	})
	if err := db.close(); err != nil {
		t.Fatal(err)
	}
	const pods = "shop/a  1  7\nshop/b  2  10\npods.v1: 2 objects, version to resume from: 12\n"
	const services = "shop/services.v1: 0 objects, version to resume from: none\n"
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, pods + services},
		{[]string{"pods"}, pods},
		{[]string{"-n", "shop", "services"}, services},
	} {
		var out bytes.Buffer
		cmd := newCommand(&out, &out)
		cmd.SetArgs(append([]string{"dump", "--db", path}, test.args...))
		if err := cmd.Execute(); err != nil || out.String() != test.want {
			t.Errorf("%q: %v, printed:\n%s", test.args, err, &out)
		}
	}
}

// Mistakes are reported with advice, before anything is done.
func TestCommandLine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBECONFIG", "")
	path := filepath.Join(dir, "mirror.db")
	for want, args := range map[string][]string{
		"--db mirror.db":    {"pods"},
		"name a kubeconfig": {"--db", path, "pods"},
		"no such file":      {"--db", path, "--kubeconfig", filepath.Join(dir, "none")},
		"such as pods":      {"--db", path, "deployments.apps"},
		"see mirror --help": {"--file", path},
		"stat " + path:      {"dump", "--db", path},
		"see mirror dump":   {"dump", "--db", path, "--kubeconfig", "x"},
	} {
		out := clitest.NewOutput()
		cmd := newCommand(out, out)
		cmd.SetArgs(args)
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
		if out.String() != "" {
			t.Errorf("%q: printed %s", args, out)
		}
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) > 0 {
		t.Errorf("there are %q, %v", files, err)
	}
}
