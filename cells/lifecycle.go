// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/informer"
)

// hook is the base of the hooks of this package. Hive's inspection shows the type that
// embeds it, with the module, and hive's log of hooks shows info.
type hook struct {
	info        string // kind and name
	start, stop func(cell.HookContext) error
}

var _ cell.HookDescriptiveInterface = hook{}

// HookInfo implements cell.HookDescriptiveInterface.
func (h hook) HookInfo() string { return h.info }

// Start implements cell.HookInterface.
func (h hook) Start(ctx cell.HookContext) error {
	if h.start == nil {
		return nil
	}
	return h.start(ctx)
}

// Stop implements cell.HookInterface.
func (h hook) Stop(ctx cell.HookContext) error {
	if h.stop == nil {
		return nil
	}
	return h.stop(ctx)
}

// newFollowed returns what is followed under a name. It is not listed yet.
func (p Params) newFollowed(kind FollowedKind, name string, scope scope, o *options) *followed {
	return &followed{
		name: name, kind: kind, cluster: p.Client.cluster, scope: scope.String(), gvk: scope.gvk, secret: scope.target.isSecret(),
		unrecorded: scope.unrecorded(), counters: &counters{}, report: newReporter(o), recent: newRecorder(),
	}
}

// observer returns the observers of f. Health is the last one: when it shows something, the
// others have it.
func (f *followed) observer(log *slog.Logger) informer.Observer {
	return informer.Observers(informer.LogObserver(log), f.counters, f.recent, f.report)
}

// follow lists f, with health under its name. ended takes it off the list. If the client is
// disabled, f stays on the list until the hive stops.
func (p Params) follow(f *followed) (ended func()) {
	if p.Health != nil {
		f.report.health = p.Health.NewScope(f.name)
	}
	p.Client.follows.add(f)
	if !p.Client.IsEnabled() {
		f.report.stopped("disabled: " + p.Client.Err().Error())
	}
	return func() {
		f.report.stopped("stopped")
		p.Client.follows.remove(f)
		f.endRecording(p.Log)
	}
}

// runHook returns a hook that runs a mirror or a push between Start and Stop. If the client
// is disabled, it only shows that.
func (p Params) runHook(f *followed, run func(context.Context) error) hook {
	h := hook{info: string(f.kind) + " " + f.name}
	ended := p.follow(f)
	if !p.Client.IsEnabled() {
		return h
	}
	// The context of the start hook ends with the hook, hence one of our own.
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	h.start = func(cell.HookContext) error {
		running.Go(func() { _ = run(ctx) }) // ends with ctx only
		return nil
	}
	h.stop = func(stop cell.HookContext) error {
		cancel()
		idle := make(chan struct{})
		go func() {
			defer close(idle)
			running.Wait()
		}()
		select {
		case <-idle:
		case <-stop.Done():
			f.endRecording(p.Log)
			return fmt.Errorf("%s %s: a call of the user's handler or consumer has not returned: %w", f.kind, f.name, context.Cause(stop))
		}
		ended()
		return nil
	}
	return h
}
