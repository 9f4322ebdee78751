// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"strings"
	"testing"
)

func TestParseCollections(t *testing.T) {
	for arg, want := range map[string]string{
		"pods":                           "pods.v1",
		"pods.v1":                        "pods.v1",
		"deployments.v1.apps":            "deployments.v1.apps",
		"leases.v1.coordination.k8s.io":  "leases.v1.coordination.k8s.io",
		"widgets.v1alpha1.example.com":   "widgets.v1alpha1.example.com",
		"deployments.apps":               "",
		"Pods":                           "",
		"pods.":                          "",
		"":                               "",
		"apps/v1/deployments":            "",
		"pods.v1.":                       "",
		"horizontalpodautoscalers.v2.au": "horizontalpodautoscalers.v2.au",
	} {
		list, err := parseCollections("", []string{arg})
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was taken for %v", arg, list)
		case want != "" && err != nil:
			t.Errorf("%q: %v", arg, err)
		case want != "" && list[0].String() != want:
			t.Errorf("%q was taken for %v", arg, list)
		}
	}
	list, err := parseCollections("shop", []string{"pods", "services"})
	if err != nil || len(list) != 2 || list[0].String() != "shop/pods.v1" {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := parseCollections("", []string{"pods", "services", "pods.v1"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}
