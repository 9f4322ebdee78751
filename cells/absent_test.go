// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// A kind that was removed while there was no connection takes its objects with it, if
// the server describes what it has, and for long enough. Health says so at once.
func TestAbsentKind(t *testing.T) {
	for name, test := range map[string]struct {
		other     bool                        // another kind of the group is still there
		discovery func(fakeapi.Request) error // what it answers meanwhile
		stays     bool                        // the objects stay
	}{
		"the group is gone":       {},
		"the kind is gone":        {other: true},
		"discovery fails":         {stays: true, discovery: func(fakeapi.Request) error { return apierrors.NewServiceUnavailable("down") }},
		"discovery finds nothing": {stays: true, discovery: func(r fakeapi.Request) error { return apierrors.NewNotFound(r.Resource.GroupResource(), "") }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := fakeapi.New(widgets)
				if test.other {
					api.Install(gadgets)
				}
				if err := api.Add(custom(widgets, "a", "one"), custom(widgets, "a", "two")); err != nil {
					t.Fatal(err)
				}
				var seen atomic.Value // of informer.Cause
				cause := func() informer.Cause { c, _ := seen.Load().(informer.Cause); return c }
				observer := informer.ObserverFunc(func(info informer.ReflectorInfo, _ informer.ReflectorEvent) { seen.Store(info.Cause) })
				err := run(t, quiet(), nil, withFake(api),
					Resource[*unstructured.Unstructured](Unstructured("widgets.v1.example.com"), With(resource.WithObserver(observer))),
					atStart(t, func(_ context.Context, r resource.Resource[*unstructured.Unstructured]) error {
						s := storeOf(t, t.Context(), r)
						api.Intercept(func(context.Context, fakeapi.Request) error { return errors.New("no route") })
						api.Disconnect()
						api.Uninstall(widgets)
						time.Sleep(time.Minute)
						api.Intercept(func(_ context.Context, r fakeapi.Request) error {
							if test.discovery != nil && strings.HasPrefix(r.Path, "/apis") && r.Verb == "" {
								return test.discovery(r)
							}
							return nil
						})
						time.Sleep(9 * time.Minute)
						expect(t, keys(s), "a/one", "a/two")
						if cause() != informer.CauseNotInstalled && test.discovery == nil {
							t.Errorf("the cause is %q", cause())
						}
						time.Sleep(5 * time.Minute)
						if test.stays {
							expect(t, keys(s), "a/one", "a/two")
							return nil
						}
						expect(t, keys(s))
						if cause() != informer.CauseNotInstalled {
							t.Errorf("afterwards the cause is %q", cause())
						}
						api.Intercept(nil)
						api.Install(widgets)
						if err := api.Add(custom(widgets, "a", "three")); err != nil {
							t.Error(err)
						}
						time.Sleep(15 * time.Second)
						expect(t, keys(s), "a/three")
						return nil
					}))
				if err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
