// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"sync"

	"github.com/cilium/hive/cell"
)

// reportDisabled reports to health that the client is disabled.
func (p Params) reportDisabled(name string) {
	if p.Health != nil {
		p.Health.NewScope(name).Stopped("disabled: " + p.Client.Err().Error())
	}
}

// runOn runs a mirror or a push between Start and Stop of the lifecycle, with health and
// metrics under its name. kind is "mirror" or "push". If the client is disabled, it only
// reports that to health.
func (p Params) runOn(kind, name string, o observed, report *reporter, run func(context.Context) error) {
	if !p.Client.IsEnabled() {
		p.reportDisabled(name)
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
				return fmt.Errorf("%s %s: a call of the user's handler or consumer has not returned: %w", kind, name, context.Cause(stop))
			}
			report.stopped()
			if p.Metrics != nil {
				p.Metrics.remove(o.counters)
			}
			return nil
		},
	})
}
