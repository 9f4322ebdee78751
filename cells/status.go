// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// Status provides a *status.Engine with the rules of kstatus. It uses the client of the
// hive, and stops with the hive. Its callers share its watches. It makes no request before
// its first call. For a hive that starts when objects are ready:
//
//	cell.Invoke(func(lc cell.Lifecycle, engine *status.Engine) {
//		lc.Append(cell.Hook{OnStart: func(ctx cell.HookContext) error {
//			_, err := engine.Wait(ctx, ids, status.All(status.Current))
//			return err
//		}})
//	})
//
// If the client is disabled, all objects are Unknown, with an error that wraps
// [ErrNotConfigured].
var Status = StatusWith(status.Config{})

// StatusWith is [Status] with a configuration. Its clients and its mapping must be nil. If
// the rules are strict and have no HasStatus function, discovery shows which kinds have a
// status.
//
// The options can be [OfCluster] and [Private]. For engines of several clusters, put each
// with [Private] in a module of its own, with what uses it, such as [StatusHealth].
func StatusWith(cfg status.Config, opts ...Option) cell.Cell {
	o := gather(opts)
	constructor := func(p Params) (statusOut, error) { return newStatus(p, cfg, o) }
	if o.private {
		return cell.ProvidePrivate(constructor)
	}
	return cell.Module("k8s-status", "Status of Kubernetes objects by watching", cell.Provide(constructor))
}

// statusOut is the engine of a hive, and what maps kinds of its cluster.
type statusOut struct {
	cell.Out

	Engine *status.Engine
	Mapper statusMapper
}

// statusMapper is a type of its own, because an engine can be of another cluster than the
// mapper of the hive.
type statusMapper struct{ meta.ResettableRESTMapper }

type statusHook struct{ hook }

func newStatus(p Params, cfg status.Config, o *options) (statusOut, error) {
	known := gather([]Option{func(k *options) { k.cluster, k.private, k.errs = o.cluster, o.private, o.errs }})
	err := errors.Join(o.errs...)
	switch {
	case cfg.Dynamic != nil || cfg.Metadata != nil || cfg.Stream != nil || cfg.Mapping != nil:
		err = errors.New("the configuration has Dynamic, Metadata, Stream or Mapping: leave them out, the engine uses the client of the hive")
	case !reflect.DeepEqual(o, known):
		err = errors.New("only cells.OfCluster and cells.Private apply to a status engine: leave out the other options")
	case err == nil:
		p, err = p.of(o)
	}
	if err != nil {
		return statusOut{}, fmt.Errorf("cells.StatusWith: %w", err)
	}
	kinds := &statusKinds{kinds: p.Client.kinds}
	cfg.Dynamic, cfg.Metadata, cfg.Stream, cfg.Mapping = p.Client.dynamic, p.Client.metadata, p.Client.stream, kinds.mapping
	if cfg.Log == nil {
		cfg.Log = p.Log
	}
	cfg.NewResource = p.newScope(cfg.NewResource)
	if cfg.Rules != nil && cfg.Rules.Strict && cfg.Rules.HasStatus == nil {
		rules := *cfg.Rules
		rules.HasStatus = kinds.hasStatus
		cfg.Rules = &rules
	}
	engine, err := status.New(cfg)
	if err != nil {
		return statusOut{}, err
	}
	p.Lifecycle.Append(statusHook{hook{
		info: p.Client.named("status engine"),
		stop: func(ctx cell.HookContext) error { return engine.Stop(ctx) },
	}})
	return statusOut{Engine: engine, Mapper: statusMapper{p.Client.mapper}}, nil
}

// newResourceFunc is the type of status.Config.NewResource.
type newResourceFunc func(cell.Lifecycle, cache.ListerWatcher, ...resource.Option) resource.Resource[*unstructured.Unstructured]

// newScope returns a function that makes the resources of a status engine with create, and
// lists them as scopes. Nil: resource.New.
func (p Params) newScope(create newResourceFunc) newResourceFunc {
	if create == nil {
		create = resource.New[*unstructured.Unstructured]
	}
	p.Health = nil // scopes come and go
	return func(lc cell.Lifecycle, lw cache.ListerWatcher, opts ...resource.Option) resource.Resource[*unstructured.Unstructured] {
		reads := nameOf(resource.Disabled[*unstructured.Unstructured](nil, opts...))
		name := p.Client.named(reads)
		f := p.newFollowed(FollowedStatus, name, scope{}, gather(nil))
		f.scope = reads
		reading, _ := f.reading(gather(nil), p.Log) // fails with Record only
		ended := func() {}
		// Hooks stop in reverse order: this one after the informer has ended.
		lc.Append(statusHook{hook{info: "end of scope " + name, stop: func(cell.HookContext) error {
			ended()
			return nil
		}}})
		r := create(lc, lw, append(slices.Clip(opts), resource.WithName(name), resource.WithSourceOptions(reading...),
			resource.WithObserver(informer.Observers(f.counters, f.recent, f.report)))...)
		if p.Client.IsEnabled() {
			f.resource, f.resync = r.(resource.Inspector).Stats, r.Resync
			f.synced = func(ctx context.Context) error {
				_, err := r.Store(ctx)
				return err
			}
		}
		ended = p.follow(f)
		// The engine can read the same again while this one stops.
		lc.Append(statusHook{hook{info: "scope " + name, stop: func(cell.HookContext) error {
			p.Client.follows.remove(f)
			return nil
		}}})
		return r
	}
}

// statusKinds is a status.MappingFunc by discovery, and notes which kinds have a
// status.
type statusKinds struct {
	kinds  *kinds
	status sync.Map // schema.GroupKind to bool
}

func (k *statusKinds) mapping(ctx context.Context, kind schema.GroupKind, fresh bool) (*meta.RESTMapping, error) {
	t := target{Group: kind.Group, Kind: kind.Kind}
	if fresh {
		if version, err := k.kinds.preferred(ctx, t); err == nil {
			k.kinds.forget(ctx, schema.GroupVersion{Group: t.Group, Version: version})
		}
	}
	f, err := k.kinds.find(ctx, t)
	if err != nil {
		return nil, err
	}
	k.status.Store(kind, f.status)
	scope := meta.RESTScopeRoot
	if f.namespaced {
		scope = meta.RESTScopeNamespace
	}
	return &meta.RESTMapping{Resource: f.resource, GroupVersionKind: f.kind, Scope: scope}, nil
}

func (k *statusKinds) hasStatus(kind schema.GroupKind) bool {
	has, known := k.status.Load(kind)
	return !known || has.(bool)
}

// StatusHealth reports to cell.Health, under a name, whether objects are Current. Health is
// OK if all are. Otherwise it is Degraded, and names the objects that are not Current, or
// "not observed yet" until each object has a status. It reports changes between Start and
// Stop of the hive. The hive must have [Status] and cell.Health.
func StatusHealth(name string, ids ...status.ID) cell.Cell {
	return cell.Invoke(func(lc cell.Lifecycle, health cell.Health, engine *status.Engine) {
		scope := health.NewScope(name)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		lc.Append(statusHook{hook{
			info: "status health " + name,
			start: func(cell.HookContext) error {
				w, err := engine.Watch(ctx, ids...)
				if err != nil {
					return fmt.Errorf("health of %s: %w", name, err)
				}
				running.Go(func() { reportStatus(w, scope) })
				return nil
			},
			stop: func(cell.HookContext) error {
				cancel()
				running.Wait()
				scope.Stopped("stopped")
				return nil
			},
		}})
	})
}

// reportStatus reports until the watch ends.
func reportStatus(w *status.Watch, health cell.Health) {
	defer w.Close()
	health.Degraded("not observed yet", fmt.Errorf("the server has not yet answered for all of %d objects", len(w.Statuses())))
	synced := false
	for ev := range w.Events() {
		if synced = synced || ev.Type == status.Synced; !synced {
			continue
		}
		all := w.Statuses()
		var not []error
		for _, s := range all {
			if s.Status != status.Current || !s.Stale.IsZero() {
				not = append(not, errors.New(s.String()))
			}
		}
		if len(not) == 0 {
			health.OK(fmt.Sprintf("objects that are Current: %d", len(all)))
		} else {
			health.Degraded(fmt.Sprintf("%d of %d objects are not Current", len(not), len(all)), errors.Join(not...))
		}
	}
}
