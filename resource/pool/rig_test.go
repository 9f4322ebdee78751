// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

var errTest = errors.New("test")

type podEvent = resource.Event[*corev1.Pod]

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// silentSource answers nothing. It counts lists in requests, if that is not nil.
type silentSource struct{ requests chan struct{} }

func (s silentSource) List(ctx context.Context, _ metav1.ListOptions, _ func(informer.Item[*corev1.Pod]) error) (informer.Page, error) {
	if s.requests != nil {
		select {
		case s.requests <- struct{}{}:
		case <-ctx.Done(): // nobody counts them
		}
	}
	<-ctx.Done()
	return informer.Page{}, context.Cause(ctx)
}

func (s silentSource) Watch(ctx context.Context, _ metav1.ListOptions) (informer.Stream[*corev1.Pod], error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (silentSource) WatchList() bool { return false }
