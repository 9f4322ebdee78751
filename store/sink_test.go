// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/apiary-go/apiary/store"
)

const (
	long  = "123456789012345678901234567890"
	long1 = "123456789012345678901234567891"
)

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		a, b    string
		order   int
		ordered bool
	}{
		{"1", "1", 0, true},
		{"9", "10", -1, true},
		{"10", "9", 1, true},
		{"2", "10", -1, true},
		{long, long1, -1, true},
		{long1, long, 1, true},
		{"18446744073709551616", "18446744073709551615", 1, true},
		{"", "1", 0, false},
		{"1", "", 0, false},
		{"", "", 0, false},
		{"0", "1", 0, false},
		{"01", "1", 0, false},
		{"-1", "1", 0, false},
		{"1.5", "1", 0, false},
		{"abc", "abc", 0, false},
	} {
		order, ordered := store.CompareVersions(tt.a, tt.b)
		if order != tt.order || ordered != tt.ordered {
			t.Errorf("CompareVersions(%q, %q) = %d, %t", tt.a, tt.b, order, ordered)
		}
	}
}

func TestSupersedes(t *testing.T) {
	for _, tt := range []struct {
		next, held string
		want       bool
	}{
		{"2", "1", true},
		{"1", "1", false},
		{"1", "2", false},
		{"10", "9", true},
		{long1, long, true},
		{long, long1, false},
		{"", "1", true},
		{"1", "", true},
		{"", "", true},
		{"abc", "abc", false},
		{"abc", "abd", true},
		{"abd", "abc", true},
		{"abc", "1", true},
		{"0", "5", true},
	} {
		if got := store.Supersedes(tt.next, tt.held); got != tt.want {
			t.Errorf("Supersedes(%q, %q) = %t", tt.next, tt.held, got)
		}
	}
}

func TestSuperseded(t *testing.T) {
	for _, tt := range []struct {
		name       string
		gone, held store.Meta
		want       bool
	}{
		{"the held object", at("a", "u", "5"), at("a", "u", "4"), false},
		{"the held object, in an older state", at("a", "u", "3"), at("a", "u", "4"), false},
		{"an unknown incarnation", at("a", "", "3"), at("a", "u", "4"), false},
		{"any incarnation", at("a", "u", "3"), at("a", "", "4"), false},
		{"another incarnation, older", at("a", "t", "3"), at("a", "u", "4"), true},
		{"another incarnation, same version", at("a", "t", "4"), at("a", "u", "4"), true},
		{"another incarnation, newer", at("a", "v", "5"), at("a", "u", "4"), false},
		{"another incarnation, longer version", at("a", "t", "9"), at("a", "u", long), true},
		{"another incarnation, no order", at("a", "t", "x"), at("a", "u", "4"), false},
		{"another incarnation, no version", at("a", "t", ""), at("a", "u", "4"), false},
	} {
		if got := store.Superseded(tt.gone, tt.held); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestSinkErrors(t *testing.T) {
	if (&store.FullError{}).Error() == "" || store.ErrResync.Error() == "" {
		t.Error("an error says nothing")
	}
}

// defaults shows that SinkDefaults makes a Sink of the four methods that every
// sink must have.
type defaults struct{ store.SinkDefaults }

func (defaults) Begin(context.Context, store.Pass) error             { return nil }
func (defaults) Apply(context.Context, store.Meta, int) error        { return nil }
func (defaults) Delete(context.Context, store.Meta, int, bool) error { return nil }
func (defaults) Commit(ctx context.Context, version string) error    { return nil }
func (defaults) Abort(store.Pass, error)                             {}

func TestSinkDefaults(t *testing.T) {
	var s store.Sink[int] = defaults{}
	if s.Holds(at("a", "u", "1")) || s.MayBlock() {
		t.Error("the defaults hold something, or block")
	}
	if s.Page(ctx, store.PageInfo{}) != nil || s.Progress(ctx, "1") != nil {
		t.Error("the defaults fail")
	}
}

func FuzzCompareVersions(f *testing.F) {
	for _, s := range []string{"", "0", "1", "9", "10", "01", "-1", "+1", " 1", "abc", long, long1, "٣"} {
		f.Add(s, "10")
		f.Add(long, s)
	}
	number := regexp.MustCompile(`^[1-9][0-9]*$`)
	f.Fuzz(func(t *testing.T, a, b string) {
		order, ordered := store.CompareVersions(a, b)
		back, backOrdered := store.CompareVersions(b, a)
		if ordered != backOrdered || order != -back {
			t.Errorf("%q, %q: %d, %t, but swapped %d, %t", a, b, order, ordered, back, backOrdered)
		}
		numbers := number.MatchString(a) && number.MatchString(b) && !strings.HasSuffix(a, "\n") && !strings.HasSuffix(b, "\n")
		if ordered != numbers {
			t.Errorf("%q, %q: ordered %t", a, b, ordered)
		}
		if ordered && len(a) < 1000 && len(b) < 1000 {
			x, _ := new(big.Int).SetString(a, 10)
			y, _ := new(big.Int).SetString(b, 10)
			if order != x.Cmp(y) {
				t.Errorf("%q, %q: %d", a, b, order)
			}
		}
		if store.Supersedes(a, b) && store.Supersedes(b, a) && ordered {
			t.Errorf("%q and %q supersede each other", a, b)
		}
	})
}

// What a pass keeps stays, as far as it is the same object. Where nobody knows which object it
// is, all stays. What wraps a sink that keeps nothing keeps nothing.
func TestKeep(t *testing.T) {
	ctx := t.Context()
	apply := func(metas ...store.Meta) (*store.Store[*thing], string) {
		s, err := store.New(store.Config[*thing]{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(ctx, store.Pass{}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c"} {
			if err := s.Apply(ctx, at(name, "u", "1"), &thing{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(ctx, "1"); err != nil {
			t.Fatal(err)
		}
		if err := s.Begin(ctx, store.Pass{}); err != nil {
			t.Fatal(err)
		}
		for _, meta := range metas {
			if err := store.Keep[*thing](ctx, s, meta); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(ctx, "2"); err != nil {
			t.Fatal(err)
		}
		return s, fmt.Sprint(s.Len(), s.Stats().Swept)
	}
	for want, metas := range map[string][]store.Meta{
		"0 3": nil, "2 1": {at("a", "u", "9"), at("b", "", "9"), at("c", "v", "9"), at("d", "u", "9")}, "3 0": {{}},
	} {
		if _, got := apply(metas...); got != want {
			t.Errorf("keeping %v: %s, want %s", metas, got, want)
		}
	}
	s, _ := apply()
	if err := store.Keep[*thing](ctx, struct{ store.Sink[*thing] }{s}, store.Meta{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
}
