// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
)

type mirrorHook[T any] struct{ hook }

// NewMirror makes a mirror.ResourceVersionInformer of the objects that the options select.
// It runs between Start and Stop of the lifecycle:
//
//	cell.Invoke(func(p cells.Params, db *Database) (err error) {
//		db.PodsInformer, err = cells.NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{
//			Handler: db.Pods, Storage: db.PodVersions, ResumeVersion: db.PodsResumeVersion,
//		})
//		return err
//	})
//
// The handler calls ResumeVersion of the informer when it writes.
//
// The options are those of [Resource], except [With], [StopUnused], [Private] and sets of
// namespaces. ListerWatcher and Source of the configuration must be nil. If cfg.Transform
// makes the objects, [From] sets the type that the server sends.
//
// Logs, cell.Health and [Metrics] have the mirror under the name, as for [Resource]. The
// observer and the error handler of the configuration are called as well. Without an error
// handler, failures are only logged.
//
// The mirror makes no request before Start, and none if the client is disabled. Stop
// cancels the context of the handler, and waits until its calls have returned. If the
// context of the stop hook ends first, the hook fails with an error that names the mirror,
// which hive logs. In hive.Run this is after hive.Options.StopTimeout, a minute by default.
func NewMirror[T any](name string, p Params, cfg mirror.InformerConfig[T], opts ...Option) (*mirror.ResourceVersionInformer[T], error) {
	o := gather(opts)
	scope, err := o.scope(reflect.TypeFor[T]())
	switch {
	case err != nil:
	case scope.set != nil:
		err = errSet
	case cfg.ListerWatcher != nil || cfg.Source != nil:
		err = errors.New("InformerConfig.ListerWatcher or Source is set: leave out both, cells.NewMirror uses the client of the hive")
	case len(o.resource) > 0 || o.private:
		err = errors.New("cells.With, cells.StopUnused and cells.Private are for resources, not for mirrors")
	}
	if err != nil {
		return nil, fmt.Errorf("mirror %s: %w", name, err)
	}
	if p, err = p.of(o); err != nil {
		return nil, fmt.Errorf("mirror %s: %w", name, err)
	}
	log := p.logger(name, scope)
	name = p.Client.named(name)
	f := p.newFollowed(FollowedMirror, name, scope, o)
	cfg.ListerWatcher = &listWatch{scope: scope, client: p.Client}
	reading, err := f.reading(o, log)
	if err != nil {
		return nil, fmt.Errorf("mirror %s: %w", name, err)
	}
	cfg.SourceOptions = append(slices.Clip(cfg.SourceOptions), reading...)
	cfg.Observer = informer.Observers(f.observer(log), cfg.Observer)
	cfg.Log = cmp.Or(cfg.Log, p.Log)
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = func(informer.ReflectorInfo, error) {} // the observer logs
	}
	i, err := mirror.NewResourceVersionInformer(name, cfg)
	if err != nil {
		return nil, err
	}
	f.mirror, f.resync, f.synced = i.Stats, i.Resync, closed(i.Synced())
	p.Lifecycle.Append(mirrorHook[T]{p.runHook(f, i.Run)})
	return i, nil
}
