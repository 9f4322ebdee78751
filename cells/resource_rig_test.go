// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cilium/hive/cell"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// impatient has failures tried again at once.
func impatient() Option {
	return With(resource.WithSettings(informer.Settings{Backoff: informer.Backoff{
		Initial: time.Millisecond, Max: 5 * time.Millisecond, Denied: time.Millisecond, Jitter: -1,
	}}))
}

// withFake is a fake client on api.
func withFake(api *fakeapi.Server) cell.Cell {
	return FakeClientWith(func() *fakeapi.Server { return api })
}

// atStart runs fn in a start hook of what depends on D.
func atStart[D any](t *testing.T, fn func(ctx context.Context, d D) error) cell.Cell {
	return cell.Invoke(func(lc cell.Lifecycle, d D) {
		lc.Append(cell.Hook{OnStart: func(cell.HookContext) error { return fn(soon(t), d) }})
	})
}

func storeOf[T runtime.Object](t *testing.T, ctx context.Context, r resource.Resource[T]) resource.Store[T] {
	t.Helper()
	s, err := r.Store(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func keys[T runtime.Object](s resource.Store[T]) (keys []string) {
	for k := range s.IterKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func forbidden(r fakeapi.Request) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), "", errors.New("not for you"))
}
