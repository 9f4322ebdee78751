// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/tools/clientcmd"
)

func TestMain(m *testing.M) {
	clientcmd.RecommendedHomeFile = "/no/such/home/.kube/config" // not that of the user
	goleak.VerifyTestMain(m)
}
