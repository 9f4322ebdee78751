// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
)

// Push pushes the objects that the options select to a consumer of type C, which another
// cell provides. The consumer gets a snapshot of all objects, and then batches of changes:
//
//	cells.Push[*corev1.Pod, *Inventory](cells.InNamespace("shop")) // *Inventory is a push.BatchConsumer[*corev1.Pod]
//
// It provides a *push.Batcher[T], which can make a new snapshot. The batcher runs between
// Start and Stop of the hive, also if no cell depends on it. A hive can have one Push of
// each T, for all clusters. For more, see [NewPush]. The options are those of [NewMirror]. The name is the
// kind, such as "Pod.v1".
func Push[T any, C push.BatchConsumer[T]](opts ...Option) cell.Cell {
	o := gather(opts)
	constructor := func(p Params, consumer C) (*push.Batcher[T], error) {
		scope, err := o.scope(reflect.TypeFor[T]())
		if err != nil {
			return nil, fmt.Errorf("push of %s: %w", reflect.TypeFor[T](), err)
		}
		return NewPush(scope.target.String(), p, push.BatcherConfig[T]{Consumer: consumer}, opts...)
	}
	id, description := titles[T](o)
	return cell.Module(moduleID("push "+id), moduleDescription("Push of "+description+" to a consumer"),
		cell.Provide(constructor),
		cell.Invoke(func(*push.Batcher[T]) {}),
	)
}

type pushHook[T any] struct{ hook }

// NewPush is [Push] for constructors of your own. It makes a push.Batcher that runs between
// Start and Stop of the lifecycle. ListerWatcher and Source of the configuration must be
// nil. Options, logs, health and metrics are as for [NewMirror].
//
// Stop waits for the last batch, at most for push.MergerConfig.StopTimeout. If the consumer
// ignores its context, Stop waits for it and fails as for [NewMirror].
func NewPush[T any](name string, p Params, cfg push.BatcherConfig[T], opts ...Option) (*push.Batcher[T], error) {
	o := gather(opts)
	scope, err := o.scope(reflect.TypeFor[T]())
	switch {
	case err != nil:
	case scope.set != nil:
		err = errSet
	case cfg.ListerWatcher != nil || cfg.Source != nil:
		err = errors.New("BatcherConfig.ListerWatcher or Source is set: leave out both, cells.NewPush uses the client of the hive")
	case len(o.resource) > 0 || o.private:
		err = errors.New("cells.With, cells.StopUnused and cells.Private are for resources, not for a push")
	}
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	if p, err = p.of(o); err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	log := p.logger(name, scope)
	name = p.Client.named(name)
	f := p.newFollowed(FollowedPush, name, scope, o)
	cfg.ListerWatcher = &listWatch{scope: scope, client: p.Client}
	reading, err := f.reading(o, log)
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	cfg.SourceOptions = append(slices.Clip(cfg.SourceOptions), reading...)
	cfg.Observer = informer.Observers(f.observer(log), cfg.Observer)
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = func(informer.ReflectorInfo, error) {} // the observer has logged it
	}
	cfg.Merger.Log = cmp.Or(cfg.Merger.Log, p.Log)
	next := cfg.Merger.ErrorHandler
	cfg.Merger.ErrorHandler = func(err error) {
		// The observer has logged everything else.
		if undelivered := (*push.UndeliveredError)(nil); errors.As(err, &undelivered) {
			log.Warn("Changes were not delivered", "resource", name, "changes", undelivered.Changes, "error", err)
		}
		if next != nil {
			next(err)
		}
	}
	b, err := push.NewBatcher(name, cfg)
	if err != nil {
		return nil, err
	}
	f.push, f.resync, f.synced = b.Stats, b.Resync, closed(b.Synced())
	p.Lifecycle.Append(pushHook[T]{p.runHook(f, b.Run)})
	return b, nil
}
