// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package devcluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/apiary-go/apiary/devcluster"
)

type getter interface {
	Get(ctx context.Context, name string, options metav1.GetOptions, subresources ...string) (*unstructured.Unstructured, error)
}

var readConfigMaps = rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}}

// alive returns true if a process runs. A zombie does not run.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	i := bytes.LastIndexByte(stat, ')')
	return !bytes.HasPrefix(stat[i+1:], []byte(" Z"))
}

func serverVersion(t *testing.T, c *devcluster.Cluster) string {
	t.Helper()
	config := c.Config()
	config.GroupVersion = &schema.GroupVersion{}
	config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme())
	restClient, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	data, err := restClient.Get().AbsPath("/version").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		t.Fatal(err)
	}
	return version.GitVersion
}

// expectExpiredWatch fails the test unless a watch from version gets "Expired".
func expectExpiredWatch(t *testing.T, d dynamic.Interface, gvr schema.GroupVersionResource, version string) {
	t.Helper()
	w, err := d.Resource(gvr).Namespace("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: version})
	if err == nil {
		defer w.Stop()
		event, ok := <-w.ResultChan()
		if !ok || event.Type != watch.Error {
			t.Errorf("watch from version %s: event %v, want an error", version, event)
			return
		}
		err = apierrors.FromObject(event.Object)
	}
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("watch from version %s: %v, want Expired", version, err)
	}
	if apierrors.IsGone(err) {
		t.Error("IsGone is true, against the documentation")
	}
}

func TestCompactExpiresVersions(t *testing.T) {
	c := sharedCluster(t) // it was started with --watch-cache-sizes=configmaps#0
	d := client(t, c.Config())
	old := newObject(t, d, configMaps, "ConfigMap", "compact-0")
	page, err := d.Resource(configMaps).List(t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if page.GetContinue() == "" {
		t.Fatal("the first page is the last")
	}
	oldSecret := newObject(t, d, secrets, "Secret", "compact-0")
	newObject(t, d, configMaps, "ConfigMap", "compact-1")
	last := newObject(t, d, secrets, "Secret", "compact-1")

	revision, err := c.Compact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := strconv.Itoa(int(revision)); len(s) < len(last) || len(s) == len(last) && s < last {
		t.Errorf("compacted at %d, before the last write at %s", revision, last)
	}
	expectExpiredWatch(t, d, configMaps, old)
	_, err = d.Resource(configMaps).List(t.Context(), metav1.ListOptions{
		ResourceVersion: old, ResourceVersionMatch: metav1.ResourceVersionMatchExact,
	})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("list at version %s: %v, want Expired", old, err)
	}
	_, err = d.Resource(configMaps).List(t.Context(), metav1.ListOptions{Limit: 1, Continue: page.GetContinue()})
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("next page: %v, want Expired", err)
	}

	// With the watch cache on, compaction alone does nothing to a watch.
	w, err := d.Resource(secrets).Namespace("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: oldSecret})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if event := <-w.ResultChan(); event.Type != watch.Added {
		t.Errorf("watch of a cached kind after compaction: %v", event)
	}
	// Again, with nothing written in between.
	if _, err := c.Compact(t.Context()); err != nil {
		t.Errorf("second Compact: %v", err)
	}
}

func TestUserAndRules(t *testing.T) {
	c := sharedCluster(t)
	u, err := c.AddUser(t.Context(), "test/er@example.com")
	if err == nil {
		t.Errorf("a name with a slash was taken: %v", u.Name())
	}
	if u, err = c.AddUser(t.Context(), "tester@example.com"); err != nil {
		t.Fatal(err)
	}
	checkMode(t, u.Kubeconfig(), 0o600)
	config, err := clientcmd.BuildConfigFromFlags("", u.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	list := func() error {
		t.Helper()
		_, a := client(t, u.Config()).Resource(configMaps).List(t.Context(), metav1.ListOptions{})
		_, b := client(t, config).Resource(configMaps).List(t.Context(), metav1.ListOptions{})
		if (a == nil) != (b == nil) {
			t.Errorf("Config and Kubeconfig differ: %v, %v", a, b)
		}
		return a
	}
	// Each change holds from the moment that SetRules returns, many times over.
	for range 10 {
		if err := list(); !apierrors.IsForbidden(err) {
			t.Fatalf("without rules: %v", err)
		}
		if err := u.SetRules(t.Context(), readConfigMaps); err != nil {
			t.Fatal(err)
		}
		if err := list(); err != nil {
			t.Fatalf("with rules: %v", err)
		}
		if _, err := client(t, config).Resource(secrets).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Fatalf("beyond the rules: %v", err)
		}
		if err := u.SetRules(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	err = u.SetRules(t.Context(), rbacv1.PolicyRule{Verbs: []string{"get"}})
	if !apierrors.IsInvalid(err) {
		t.Errorf("an invalid rule: %v", err)
	}
	if _, err := c.AddUser(t.Context(), ""); err == nil {
		t.Error("an empty name was taken")
	}
}

const crds = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: bees.test.apiary.dev}
spec:
  group: test.apiary.dev
  names: {plural: bees, singular: bee, kind: Bee, listKind: BeeList}
  scope: Namespaced
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}
  - {name: v3, served: false, storage: false, schema: {openAPIV3Schema: {type: object}}}
---
# A document without content is no mistake.
---
apiVersion: v1
kind: List
items:
- apiVersion: apiextensions.k8s.io/v1
  kind: CustomResourceDefinition
  metadata: {name: hives.test.apiary.dev}
  spec:
    group: test.apiary.dev
    names: {plural: hives, singular: hive, kind: Hive, listKind: HiveList}
    scope: Namespaced
    versions:
    - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`

func TestInstallCRDs(t *testing.T) {
	c := sharedCluster(t)
	for range 2 { // the second time it replaces them
		if err := c.InstallCRDs(t.Context(), []byte(crds)); err != nil {
			t.Fatal(err)
		}
	}
	d := client(t, c.Config())
	bees := schema.GroupVersionResource{Group: "test.apiary.dev", Version: "v1", Resource: "bees"}
	newObject(t, d, bees, "Bee", "maya")
	bees.Version = "v2"
	if _, err := d.Resource(bees).Namespace("default").Get(t.Context(), "maya", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	newObject(t, d, schema.GroupVersionResource{Group: "test.apiary.dev", Version: "v1", Resource: "hives"}, "Hive", "home")

	for name, bad := range map[string]struct{ manifest, want string }{
		"another kind": {"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "not a CustomResourceDefinition"},
		"nothing":      {"# nothing\n", "contains no CustomResourceDefinition"},
		"not YAML":     {"{{{", "parse"},
		"invalid":      {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\n", "is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.InstallCRDs(t.Context(), []byte(bad.manifest))
			if err == nil || !strings.Contains(err.Error(), bad.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFlagsReachTheServer(t *testing.T) {
	c := sharedCluster(t) // it was started with --feature-gates=WatchList=false
	send := true
	w, err := client(t, c.Config()).Resource(secrets).Watch(t.Context(), metav1.ListOptions{
		SendInitialEvents: &send, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	if err == nil {
		w.Stop()
	}
	if !apierrors.IsInvalid(err) {
		t.Errorf("WatchList with its feature turned off: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config devcluster.Config
		want   string
	}{
		"unknown flag":   {devcluster.Config{Flags: []string{"--no-such-flag=1"}}, "unknown flag: --no-such-flag"},
		"bad value":      {devcluster.Config{Flags: []string{"--feature-gates=NoSuchGate=true"}}, "NoSuchGate"},
		"fixed flag":     {devcluster.Config{Flags: []string{"--secure-port=1"}}, "use --port of devcluster"},
		"not a flag":     {devcluster.Config{Flags: []string{"--v=1", "oops"}}, `"oops" is not a flag`},
		"another binary": {devcluster.Config{Binary: "/bin/echo"}, "is not a devcluster command"},
		"no binary":      {devcluster.Config{Binary: "/no/such"}, "Config.Binary must name a devcluster command"},
		"port":           {devcluster.Config{Port: 70000}, "is not a port"},
		"timeout":        {devcluster.Config{StartTimeout: 1}, "Config.StartTimeout of 1ns has passed"},
		"negative":       {devcluster.Config{StartTimeout: -1}, "must not be negative"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := devcluster.Start(t.Context(), test.config)
			if err == nil {
				t.Error("it started")
				_ = c.Stop(context.Background())
			} else if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := devcluster.Start(ctx, devcluster.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
}
