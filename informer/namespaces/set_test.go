// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
)

func forbidden(r fakeapi.Request) error {
	return apierrors.NewForbidden(r.Resource.GroupResource(), "", errors.New("not for you"))
}

func TestSet(t *testing.T) {
	var s namespaces.Set
	want := func(want ...string) {
		t.Helper()
		if got := s.Names(); !slices.Equal(got, want) {
			t.Errorf("it has %q, want %q", got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	want()
	s.Remove("a")
	must(s.Add("b", "a", "b"))
	want("a", "b")
	for _, bad := range []string{"", "A", "a.b", "a/b", "-"} {
		for _, err := range []error{s.Add("c", bad), s.Set("c", bad)} {
			if err == nil {
				t.Errorf("%q is accepted", bad)
			}
		}
	}
	want("a", "b")
	must(s.Set("c"))
	want("c")
	s.Remove("c", "c")
	want()
	if _, err := namespaces.NewSet("a", "B"); err == nil {
		t.Error("B is accepted")
	}
}

func TestSetConcurrent(t *testing.T) {
	var s namespaces.Set
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				if s.Add(fmt.Sprint("n", i), "shared") != nil || !slices.Contains(s.Names(), fmt.Sprint("n", i)) {
					t.Error("it was not added")
				}
				s.Remove("shared")
			}
		})
	}
	wg.Wait()
	if got := len(s.Names()); got != 8 {
		t.Errorf("%d names", got)
	}
}

func TestCombine(t *testing.T) {
	now := time.Now()
	failed := errors.New("failed")
	ok := informer.ReflectorInfo{Name: "r", Namespace: "a", State: informer.StateWatching, Version: "10", Passes: 2, Epoch: 3, WatchEvents: 4, ObjectBytes: 100, Contact: now}
	failing := informer.ReflectorInfo{Name: "r", Namespace: "b", State: informer.StateBackingOff, Version: "9", Passes: 1, Err: failed, Cause: informer.CauseServer, Contact: now.Add(-time.Hour)}
	never := informer.ReflectorInfo{Name: "r", Namespace: "c", State: informer.StateBackingOff, Err: failed, Cause: informer.CauseForbidden, Contact: now}
	listing := informer.ReflectorInfo{Name: "r", Namespace: "d", State: informer.StateListing}
	for _, test := range []struct {
		of   []informer.ReflectorInfo
		want informer.ReflectorInfo
	}{
		{nil, informer.ReflectorInfo{State: informer.StateIdle}},
		{[]informer.ReflectorInfo{ok}, informer.ReflectorInfo{Name: "r", State: informer.StateWatching, Version: "10", Passes: 2, Epoch: 3, WatchEvents: 4, ObjectBytes: 100, Contact: now}},
		{[]informer.ReflectorInfo{ok, failing}, informer.ReflectorInfo{Name: "r", Namespace: "b", State: informer.StateBackingOff, Version: "9", Passes: 3, Epoch: 3, WatchEvents: 4,
			ObjectBytes: 100, Err: failed, Cause: informer.CauseServer, Contact: now.Add(-time.Hour)}},
		{[]informer.ReflectorInfo{ok, failing, never}, informer.ReflectorInfo{Name: "r", Namespace: "c", State: informer.StateBackingOff, Epoch: 3, WatchEvents: 4,
			ObjectBytes: 100, Err: failed, Cause: informer.CauseForbidden, Contact: now.Add(-time.Hour)}},
		{[]informer.ReflectorInfo{ok, listing}, informer.ReflectorInfo{Name: "r", State: informer.StateListing, Epoch: 3, WatchEvents: 4, ObjectBytes: 100}},
	} {
		for range 2 {
			got := namespaces.Combine(test.of)
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", test.want) {
				t.Errorf("got %+v\nwant %+v", got, test.want)
			}
			slices.Reverse(test.of)
		}
	}
}
