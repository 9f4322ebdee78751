// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"

	"github.com/apiary-go/apiary/resource"
)

var errTest = errors.New("test")

type podEvent = resource.Event[*corev1.Pod]

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
