// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"context"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/fakeapi"
)

// startFakeStatusCluster serves an API server in memory.
func startFakeStatusCluster(context.Context) (statusCluster, error) {
	api := fakeapi.New()
	s := httptest.NewServer(api)
	return statusCluster{config: &rest.Config{Host: s.URL}, stop: func() error {
		s.CloseClientConnections()
		s.Close()
		return nil
	}}, nil
}

// TestStatusContestants: all contestants report all statuses, in separate processes. A
// contestant that fails returns the cause.
func TestStatusContestants(t *testing.T) {
	got, err := tinySizes.measureStatus(statusNames)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range statusNames {
		if requests := got[i][2]; requests <= 0 {
			t.Errorf("%s made %v requests", name, requests)
		}
	}
	if _, err := tinySizes.measureStatus([]string{"nobody"}); err == nil {
		t.Error("nobody measured something")
	}
}
