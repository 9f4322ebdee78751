// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apiary-go/apiary/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// thing is the object that these tests store.
type thing struct {
	store.Meta

	// Tags are its values in the index "tag".
	Tags []string

	// Trouble says what the index "tag" does.
	Trouble trouble
}

type trouble int

const (
	none trouble = iota
	errs
	panics
	panicsWithError
)

var errTag = errors.New("tag is bad")

// tags is the index function of "tag".
func tags(values []string, t *thing) ([]string, error) {
	switch t.Trouble {
	case errs:
		return append(values, "not to be used"), errTag
	case panics:
		panic("tag is bad")
	case panicsWithError:
		panic(errTag)
	default:
		return append(values, t.Tags...), nil
	}
}

// namespace is the index function of "namespace".
func namespace(values []string, t *thing) ([]string, error) {
	return append(values, t.Key.Namespace), nil
}

// at makes a meta of "name", or "name/uid", in namespace "ns".
func at(name string, uid types.UID, version string) store.Meta {
	return store.Meta{Key: store.Key{Namespace: "ns", Name: name}, UID: uid, Version: version}
}

// rig is a store with a record of what it told.
type rig struct {
	*store.Store[*thing]
	t       testing.TB
	changes []store.Change[*thing]
	errs    []error
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t}
	s, err := store.New(store.Config[*thing]{
		Name:         "things",
		Indexers:     map[string]store.IndexFunc[*thing]{"tag": tags, "namespace": namespace},
		OnChange:     func(c store.Change[*thing]) { c.Record = nil; r.changes = append(r.changes, c) },
		OnIndexError: func(err error) { r.errs = append(r.errs, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Store = s
	return r
}

func (r *rig) begin() { r.must(r.Begin(ctx, store.Pass{Epoch: 1, Reason: store.ReasonFirst})) }

func (r *rig) commit(version string) { r.must(r.Commit(ctx, version)) }

func (r *rig) apply(meta store.Meta, tags ...string) *thing {
	t := &thing{Meta: meta, Tags: tags}
	r.must(r.Apply(ctx, meta, t))
	return t
}

func (r *rig) delete(meta store.Meta) { r.must(r.Delete(ctx, meta, nil, false)) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// wantChanges compares what was told since the last call.
func (r *rig) wantChanges(want ...string) {
	r.t.Helper()
	var got []string
	for _, c := range r.changes {
		s := fmt.Sprintf("%s %s#%s", c.Kind, c.Meta, c.Meta.UID)
		if c.Kind == store.Updated || c.OldMeta != (store.Meta{}) && c.OldMeta != c.Meta {
			s += fmt.Sprintf(" was %s#%s", c.OldMeta, c.OldMeta.UID)
		}
		got = append(got, s)
	}
	r.changes = nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("changes:\ngot  %q\nwant %q", got, want)
	}
}
