// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// fickle is a source that becomes readable when its reader gives up.
type fickle struct {
	resource.Resource[*unstructured.Unstructured]
	health *health
}

func (f fickle) Store(ctx context.Context) (resource.Store[*unstructured.Unstructured], error) {
	<-ctx.Done()
	f.health.observe(informer.ReflectorInfo{}, informer.ListDone{})
	return nil, context.Cause(ctx)
}

// A reader that gives up because reading is forbidden returns that error, also if
// reading is allowed by then. It does not return the error of a context, since that has
// not ended.
func TestCachedReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := scope{kind: schema.GroupKind{Kind: "Pod"}}
		c := &health{}
		r := (&Engine{ctx: ctx}).ClusterReader(ctx)
		r.opened[s] = &opened{source: collection{Resource: fickle{health: c}, health: c}, release: func() {}, expiry: time.NewTimer(0)}
		go func() {
			synctest.Wait() // until open waits
			c.observe(informer.ReflectorInfo{}, informer.ListFailed{
				Cause: informer.CauseForbidden,
				Err:   apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil),
			})
		}()
		if _, err := r.open(ctx, s); !apierrors.IsForbidden(err) {
			t.Errorf("got %v", err)
		}
	})
}
