// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"fmt"
	"sync"

	"github.com/cilium/hive/cell"
)

// runOn runs what runs until its context ends from the start of a lifecycle to its
// stop, and then calls stopped. What is the name for an error.
func runOn(lc cell.Lifecycle, what string, run func(context.Context) error, stopped func()) {
	// The context of the start hook ends with the hook, hence one of our own.
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	lc.Append(cell.Hook{
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
				return fmt.Errorf("%s: a call of the handler or the consumer does not heed its context: %w", what, context.Cause(stop))
			}
			stopped()
			return nil
		},
	})
}
