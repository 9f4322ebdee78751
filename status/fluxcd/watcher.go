// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd

import (
	"context"
	"errors"

	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/event"
	"github.com/fluxcd/cli-utils/pkg/kstatus/watcher"
	"github.com/fluxcd/cli-utils/pkg/object"

	"github.com/apiary-go/apiary/status"
)

// NewStatusWatcher returns a StatusWatcher of cli-utils that reports the statuses of e.
// Its watches share those of e. It differs from that of cli-utils:
//
//   - An object that does not exist is NotFound, and one that cannot be read is Unknown
//     with the error. Neither ends the watch. There is an ErrorEvent only for an
//     invalid ID, and after e was stopped.
//   - The SyncEvent comes after the first status of each object.
//   - A change that does not change the status has no event.
//   - RESTScopeStrategy has no effect: e chooses the scope by what is allowed.
//   - After canceling, the caller need not drain the channel.
//   - The objects in events lack what no rule of e reads: see [status.Rules.Trim]. To
//     have whole objects, set KeepAll in the rules of e, or Keep for some kinds.
func NewStatusWatcher(e *status.Engine) watcher.StatusWatcher { return statusWatcher{e} }

type statusWatcher struct{ engine *status.Engine }

// Watch implements [watcher.StatusWatcher].
func (w statusWatcher) Watch(ctx context.Context, set object.ObjMetadataSet, _ watcher.Options) <-chan event.Event {
	watch, err := w.watch(ctx, set)
	if err != nil {
		events := make(chan event.Event, 1)
		events <- event.Event{Type: event.ErrorEvent, Error: err}
		close(events)
		return events
	}
	out := make(chan event.Event)
	go func() {
		defer close(out)
		defer watch.Close()
		send := func(ev event.Event) bool {
			if ctx.Err() != nil {
				return false // a select with both a receiver and an ended context takes either
			}
			select {
			case out <- ev:
				return true
			case <-ctx.Done():
				return false
			}
		}
		for ev := range watch.Events() {
			if !send(Event(ev)) {
				return
			}
		}
		if err := watch.Err(); err != nil {
			send(event.Event{Type: event.ErrorEvent, Error: err})
		}
	}()
	return out
}

func (w statusWatcher) watch(ctx context.Context, set object.ObjMetadataSet) (*status.Watch, error) {
	if w.engine == nil {
		return nil, errors.New("fluxcd.NewStatusWatcher: the status.Engine is nil: give one")
	}
	return w.engine.Watch(ctx, IDs(set)...)
}
