// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pool

import (
	"github.com/cilium/hive/cell"

	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// lifecycle is the lifecycle of one resource. A panic of a stop hook is an error of this
// hook. The other hooks are still called.
type lifecycle struct {
	cell.DefaultLifecycle
	panics *usercode.Panics
	key    store.Key // its name is the pool's key as text
}

// Append implements cell.Lifecycle.
func (lc *lifecycle) Append(h cell.HookInterface) {
	safe := safeHook{HookInterface: h, lc: lc}
	if _, early := h.(cell.PreStopHook); early {
		lc.DefaultLifecycle.Append(safePreStopHook{safe})
		return
	}
	lc.DefaultLifecycle.Append(safe)
}

type safeHook struct {
	cell.HookInterface
	lc *lifecycle
}

// Stop implements cell.HookInterface.
func (h safeHook) Stop(ctx cell.HookContext) error {
	return h.lc.panics.Try("stop hook", h.lc.key, func() error { return h.HookInterface.Stop(ctx) })
}

type safePreStopHook struct{ safeHook }

// PreStopHookMarker implements cell.PreStopHook.
func (safePreStopHook) PreStopHookMarker() {}
