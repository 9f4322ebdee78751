// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"sync"

	"github.com/cilium/hive/cell"
)

// runOn has what runs until its context ends run from the start of the lifecycle to its
// stop, with health and metrics under its name: a mirror or a push, as kind says. If the
// client is disabled it does not run, which health is told.
func (p Params) runOn(kind, name string, o observed, report *reporter, run func(context.Context) error) {
	if !p.Client.IsEnabled() {
		if p.Health != nil {
			p.Health.NewScope(name).Stopped("disabled: " + p.Client.Err().Error())
		}
		return
	}
	if p.Health != nil {
		report.health = p.Health.NewScope(name)
	}
	if p.Metrics != nil {
		p.Metrics.add(name, o)
	}
	// The context of the start hook ends with the hook, hence one of our own.
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	p.Lifecycle.Append(cell.Hook{
		OnStart: func(cell.HookContext) error {
			running.Go(func() { _ = run(ctx) }) // ends with ctx only
			return nil
		},
		OnStop: func(stop cell.HookContext) error {
			cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				running.Wait()
			}()
			select {
			case <-ended:
			case <-stop.Done():
				return fmt.Errorf("%s %s: a call of the handler or the consumer does not heed its context: %w", kind, name, context.Cause(stop))
			}
			report.stopped()
			if p.Metrics != nil {
				p.Metrics.remove(o.counters)
			}
			return nil
		},
	})
}
