// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// NewMirror makes a mirror.ResourceVersionInformer of the objects that the
// options select, which runs from the start of the lifecycle to its stop:
//
//	cell.Invoke(func(p cells.Params, db *Database) (err error) {
//		db.PodsInformer, err = cells.NewMirror("pods", p, mirror.InformerConfig[*corev1.Pod]{
//			Handler: db.Pods, Storage: db.PodVersions, ResumeVersion: db.PodsResumeVersion,
//		})
//		return err
//	})
//
// The handler asks the informer for its ResumeVersion when it writes.
//
// Options are those of [Resource], but for [With] and [Private]. Of the
// configuration, ListerWatcher and Source must be empty. If a transform is to make
// the T of another type, name that by [From].
//
// What the informer does is logged, reported to cell.Health under the name, and
// counted by [Metrics] where the hive has these: the observer and the error handler
// of the configuration are told as well, and the latter has none by default. It
// makes no request before the start, and none at all if the client is disabled. Stop
// returns when the calls of the handler have; their context ends with it.
func NewMirror[T any](name string, p Params, cfg mirror.InformerConfig[T], opts ...Option) (*mirror.ResourceVersionInformer[T], error) {
	o := gather(opts)
	plan, err := o.plan(reflect.TypeFor[T]())
	switch {
	case err != nil:
	case cfg.ListerWatcher != nil || cfg.Source != nil:
		err = errors.New("InformerConfig.ListerWatcher or Source is set: leave out both, cells.NewMirror reads by the client of the hive")
	case len(o.resource) > 0 || o.private:
		err = errors.New("cells.With and cells.Private are for resources, not for mirrors")
	}
	if err != nil {
		return nil, fmt.Errorf("mirror %s: %w", name, err)
	}
	log := p.logger(name, plan)
	failureLog := log.With("resource", name)
	report, counts := &reporter{}, &counters{}
	cfg.ListerWatcher = &listWatch{plan: plan, client: p.Client}
	cfg.SourceOptions = append(slices.Clip(cfg.SourceOptions), o.reading...)
	cfg.Observer = informer.Observers(informer.LogObserver(log), report, counts, cfg.Observer)
	cfg.Log = cmp.Or(cfg.Log, p.Log)
	told := cfg.ErrorHandler
	cfg.ErrorHandler = func(info informer.ReflectorInfo, err error) {
		if failed := (*informer.HandlerError)(nil); errors.As(err, &failed) {
			failureLog.Log(context.Background(), levelOf(err), "A change could not be handled, will try again", "key", failed.Meta.Key, "failures", failed.Failures,
				"next", failed.RetryIn, "error", failed)
		}
		if told != nil {
			told(info, err)
		}
	}
	i, err := mirror.NewResourceVersionInformer(name, cfg)
	if err != nil {
		return nil, err
	}
	p.runOn("mirror", name, observed{mirror: i.Stats, counters: counts}, report, i.Run)
	return i, nil
}

// levelOf is the level of a failure of user code: a panic has a report of its own.
func levelOf(err error) slog.Level {
	if errors.As(err, new(*store.PanicError)) {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}
