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

// fickle is a source that may be read again just when somebody gives up.
type fickle struct {
	resource.Resource[*unstructured.Unstructured]
	contact *contact
}

func (f fickle) Store(ctx context.Context) (resource.Store[*unstructured.Unstructured], error) {
	<-ctx.Done()
	f.contact.observe(informer.ReflectorInfo{}, informer.ListDone{})
	return nil, context.Cause(ctx)
}

// Who gives up because reading is forbidden is told so, also if it is allowed by the
// time that he is told; and not that his context ended, which it did not.
func TestCachedReaderGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := scope{kind: schema.GroupKind{Kind: "Pod"}}
		c := &contact{}
		r := (&Engine{ctx: ctx}).ClusterReader(ctx)
		r.opened[s] = &opened{source: collection{Resource: fickle{contact: c}, contact: c}, release: func() {}, rest: time.NewTimer(0)}
		go func() {
			synctest.Wait() // until it is being waited for
			c.observe(informer.ReflectorInfo{}, informer.ListFailed{
				Cause: informer.CauseForbidden,
				Err:   apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", nil),
			})
		}()
		if _, err := r.open(ctx, s); !apierrors.IsForbidden(err) {
			t.Errorf("told %v", err)
		}
	})
}
