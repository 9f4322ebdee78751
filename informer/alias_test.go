// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"context"
	"testing"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// aliasSink is a sink that is written without package store.
type aliasSink struct{ informer.SinkDefaults }

func (aliasSink) Begin(context.Context, informer.Pass) error         { return nil }
func (aliasSink) Apply(context.Context, informer.Meta, object) error { return informer.ErrResync }
func (aliasSink) Delete(context.Context, informer.Meta, object, bool) error {
	return &informer.FullError{}
}
func (aliasSink) Commit(context.Context, string) error          { return nil }
func (aliasSink) Abort(informer.Pass, error)                    {}
func (aliasSink) Page(context.Context, informer.PageInfo) error { return nil }

var (
	_ informer.Sink[object] = aliasSink{}
	_ store.Sink[object]    = aliasSink{}
)

// TestAliases: what a sink returns by this package's names is understood.
func TestAliases(t *testing.T) {
	var sink informer.Sink[object] = aliasSink{}
	for _, err := range []error{
		sink.Apply(t.Context(), informer.Meta{Key: informer.Key{Name: "a"}}, nil),
		sink.Delete(t.Context(), informer.Meta{}, nil, false),
	} {
		if cause := informer.CauseOf(err); cause != informer.CauseSink {
			t.Errorf("%v is %q", err, cause)
		}
	}
}
