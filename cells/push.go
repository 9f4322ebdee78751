// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/push"
)

// Push pushes the objects that the options select to a consumer of type C, which another
// cell provides: first a snapshot of all of them, then batches of changes:
//
//	cells.Push[*corev1.Pod, *Inventory](cells.InNamespace("shop")) // *Inventory is a push.BatchConsumer[*corev1.Pod]
//
// It provides the *push.Batcher[T], which a cell can ask for a new snapshot. It runs the
// Batcher from the start of the hive to its stop, also if no cell uses it. A hive can have
// one for each T; for more see [NewPush]. Options are those of [NewMirror]. The name is that
// of the kind, such as "Pod.v1".
func Push[T any, C push.BatchConsumer[T]](opts ...Option) cell.Cell {
	o := gather(opts)
	constructor := func(p Params, consumer C) (*push.Batcher[T], error) {
		plan, err := o.plan(reflect.TypeFor[T]())
		if err != nil {
			return nil, fmt.Errorf("push of %s: %w", reflect.TypeFor[T](), err)
		}
		return NewPush(plan.target.String(), p, push.BatcherConfig[T]{Consumer: consumer}, opts...)
	}
	return cell.Module(moduleID("push "+reflect.TypeFor[T]().String()), moduleDescription("Pushes "+reflect.TypeFor[T]().String()+" to a consumer"),
		cell.Provide(constructor),
		cell.Invoke(func(*push.Batcher[T]) {}),
	)
}

// NewPush makes a push.Batcher that runs from the start of the lifecycle to its
// stop, for constructors of your own. Of the configuration, ListerWatcher and Source
// must be empty; the rest is as for [NewMirror].
//
// Stop waits for the last batch, for push.MergerConfig.StopTimeout at most.
func NewPush[T any](name string, p Params, cfg push.BatcherConfig[T], opts ...Option) (*push.Batcher[T], error) {
	o := gather(opts)
	plan, err := o.plan(reflect.TypeFor[T]())
	switch {
	case err != nil:
	case cfg.ListerWatcher != nil || cfg.Source != nil:
		err = errors.New("BatcherConfig.ListerWatcher or Source is set: leave out both, cells.NewPush reads by the client of the hive")
	case len(o.resource) > 0 || o.private:
		err = errors.New("cells.With and cells.Private are for resources, not for a push")
	}
	if err != nil {
		return nil, fmt.Errorf("push %s: %w", name, err)
	}
	log := p.Log.With("push", name, "selects", plan.String())
	report, counts := &reporter{}, &counters{}
	cfg.ListerWatcher = &listWatch{plan: plan, client: p.Client}
	cfg.Observer = informer.Observers(informer.LogObserver(log), report, counts, cfg.Observer)
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = func(informer.ReflectorInfo, error) {} // the observer has logged it
	}
	cfg.Merger.Log = cmp.Or(cfg.Merger.Log, p.Log)
	handler := cfg.Merger.ErrorHandler
	cfg.Merger.ErrorHandler = func(err error) {
		failed, undelivered, dead := (*informer.HandlerError)(nil), (*push.UndeliveredError)(nil), (*push.DeadLetterError)(nil)
		switch {
		case errors.As(err, &undelivered):
			log.Log(context.Background(), levelOf(err), "Changes were not delivered", "changes", undelivered.Changes, "error", err)
		case errors.As(err, &dead):
			log.Log(context.Background(), levelOf(err), "The consumer refused an object too often, will try again when it changes", "key", dead.Meta.Key, "tries", dead.Tries, "error", dead.Err)
		case errors.As(err, &failed) && failed.Meta.Key.Name != "":
			log.Log(context.Background(), levelOf(err), "The consumer refused an object, will try again", "key", failed.Meta.Key, "failures", failed.Failures, "next", failed.RetryIn, "error", err)
		case errors.As(err, &failed):
			log.Log(context.Background(), levelOf(err), "The consumer did not accept a batch, will try again", "failures", failed.Failures, "next", failed.RetryIn, "error", err)
		}
		if handler != nil {
			handler(err)
		}
	}
	b, err := push.NewBatcher(name, cfg)
	if err != nil {
		return nil, err
	}
	p.runOn("push", name, observed{push: b.Stats, counters: counts}, report, b.Run)
	return b, nil
}
