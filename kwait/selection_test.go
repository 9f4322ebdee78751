// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/clitest"
)

func TestReferences(t *testing.T) {
	for args, want := range map[string][]reference{
		"":                          nil,
		"deployment/web":            {{"deployment", "web"}},
		"deploy/web job.batch/a":    {{"deploy", "web"}, {"job.batch", "a"}},
		"pod web-0 web-1":           {{"pod", "web-0"}, {"pod", "web-1"}},
		"pod,service web":           {{"pod", "web"}, {"service", "web"}},
		"clusterrole/system:x":      {{"clusterrole", "system:x"}},
		"-l pods":                   {{"pods", ""}},
		"-l deployments.apps,hives": {{"deployments.apps", ""}, {"hives", ""}},
	} {
		args, selected := strings.CutPrefix(args, "-l ")
		if got, err := parseReferences(strings.Fields(args), selected); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", args, got, err)
		}
	}
	for args, want := range map[string]string{
		"-l":            "-l and --all need a type",
		"-l pod web":    "take types without names",
		"-l pod/web":    "take types without names",
		"pods":          "name the object, such as pods/NAME, or select objects with -l or --all",
		"pod/a service": `"service": want TYPE/NAME`,
		"pod,service/a": `"pod,service/a": want TYPE/NAME`,
		"pod/a/b":       `pod "a/b": not a name of an object`,
		"pod/":          `pod "": not a name of an object`,
		"/a":            "a type is missing",
		"pod,, a":       "a type is missing",
	} {
		args, selected := strings.CutPrefix(args, "-l")
		if got, err := parseReferences(strings.Fields(args), selected); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, error %v, want %q in it", args, got, err, want)
		}
	}
}

// A type is a resource or a kind, perhaps with its group and version.
func TestWaitForTypes(t *testing.T) {
	for _, arg := range []string{
		"deployment/web", "deployments/web", "Deployment/web", "deployments.apps/web", "deployment.apps/web", "deployments.v1.apps/web", "Deployment.v1.apps/web",
	} {
		inWait(t, func(w *waiting) {
			w.add(web(1, 1))
			w.start("", arg)
			w.mustEnd(0)
			clitest.Expect(t, w.out.Take(), "Deployment/shop/web  Current")
		})
	}
	inWait(t, func(w *waiting) {
		w.add(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
		w.start(shopManifest+webManifest, "namespaces/shop", "node/n1", "--timeout", "10s") // and files
		w.mustEnd(2)
		clitest.Expect(t, w.out.Take(), "  Namespace/shop       Current", "  Node/n1              NotFound", "  Deployment/shop/web  NotFound")
	})
}

func TestWaitForLabels(t *testing.T) {
	labelled := func(namespace, name string, ready bool) *corev1.Pod {
		p := pod(name, ready)
		p.Namespace, p.Labels = namespace, map[string]string{"app": "x"}
		return p
	}
	objects := []*corev1.Pod{labelled("shop", "a", true), labelled("shop", "b", true), labelled("bank", "c", true), pod("other", true)}
	for args, want := range map[string]string{
		"pods -l app=x":    "Pod/shop/a Pod/shop/b",
		"pod -l app=x -A":  "Pod/bank/c Pod/shop/a Pod/shop/b",
		"pods --all":       "Pod/shop/a Pod/shop/b Pod/shop/other",
		"pods,pods -l app": "Pod/shop/a Pod/shop/b",
	} {
		t.Run(args, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				for _, p := range objects {
					w.add(p)
				}
				w.start("", strings.Fields(args)...)
				w.mustEnd(0)
				var got []string
				for line := range strings.Lines(w.out.Take()) {
					if fields := strings.Fields(line); strings.Contains(line, "Current  ") {
						got = append(got, fields[1])
					}
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%q, want %q", got, want)
				}
			})
		})
	}
}

// Objects that are created later are not selected.
func TestWaitForLabelsLater(t *testing.T) {
	inWait(t, func(w *waiting) {
		w.add(pod("a", false))
		w.start("", "pods", "--all")
		w.after(time.Minute)
		w.add(pod("b", false), pod("a", true))
		w.mustEnd(0)
	})
}

// Types that are not there, and selectors that match nothing, are errors.
func TestWaitForNoSuchType(t *testing.T) {
	for args, want := range map[string]string{
		"hive/first":          `find the type "hive": the server does not have it`,
		"hive.example.com/a":  `find the type "hive.example.com": the server does not have it`,
		"pods --all":          "no objects match",
		"services -l app=web": "list services: ",
	} {
		t.Run(args, func(t *testing.T) {
			inWait(t, func(w *waiting) {
				w.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
					if r.Resource.Resource == "services" {
						return forbidden(r)
					}
					return nil
				})
				w.start("", strings.Fields(args)...)
				w.mustEnd(3)
				clitest.Expect(t, w.err.Error(), want)
			})
		})
	}
	inWait(t, func(w *waiting) {
		w.start("", "pods", "--all", "--for", "deleted")
		w.mustEnd(0)
		clitest.Expect(t, w.out.Take(), "no objects match: nothing to wait for")
	})
}
