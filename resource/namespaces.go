// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"errors"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
	"github.com/apiary-go/apiary/informer/source"
)

// NewInNamespaces is like [New], for the objects of a set of namespaces. The set can change at
// any time. lw returns a ListerWatcher for the objects of one namespace. It is called for each
// namespace that is added, and once for "default", to check the settings. It must make no
// request.
//
//   - It costs the server one list and one watch for each namespace. ListBudget of
//     [informer.Settings] limits the lists of all namespaces together. It needs no permissions
//     outside of the namespaces.
//   - Sync of Events, and Store, wait until each namespace that is in the set at that moment is
//     listed. An empty set is synced, and has no objects.
//   - A namespace that is added later is listed and watched, and the resource stays synced
//     meanwhile. Stats has the state of each namespace. The objects of the others are not
//     touched.
//   - The objects of a namespace that is removed are deleted: subscribers get a Delete for
//     each. A namespace that is added again begins with a list.
//   - Store.WaitFor waits until each namespace in the set is at the version. One without
//     changes gets there with the next bookmark, which a server sends about every minute.
//   - If a namespace fails, for example without permission, the others work. The resource is
//     not synced before it succeeds or is removed. Logs and errors have its name.
//   - Namespaces are read independently. Their objects can be of different versions, also at
//     Sync. Equal parts of objects are shared within a namespace.
//
// The options of [WithSourceOptions] are for each namespace, so source.WithRecording must not be
// among them. [WithStopUnused] does not apply.
func NewInNamespaces[T runtime.Object](lc cell.Lifecycle, set *namespaces.Set, lw func(namespace string) cache.ListerWatcher, opts ...Option) Resource[T] {
	o := gather[T](opts)
	if lw == nil {
		o.err = errors.Join(o.err, errors.New("no function for ListerWatchers was given: lw is nil"))
	}
	if o.unused > 0 {
		o.err = errors.Join(o.err, errors.New("WithStopUnused does not apply to NewInNamespaces: remove namespaces from the set instead"))
	}
	convert, err := converter[T](o.convert)
	o.err = errors.Join(o.err, err)
	return build(lc, func(r *resource[T], o *options) (reflector, error) {
		return namespaces.NewReflector(namespaces.Config[T]{
			Name: o.name,
			Set:  set,
			Source: func(namespace string) informer.Source[T] {
				return source.FromListerWatcher(lw(namespace), convert, o.source...)
			},
			Store:    r.store,
			Synced:   r.markSynced,
			Settings: o.settings,
			Observer: o.observer,
			Log:      o.log,
		})
	}, o)
}
