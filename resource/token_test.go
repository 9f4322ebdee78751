// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"testing"
)

// Of the tokens of many events that were outstanding at once only some are kept: an
// event costs nothing after its Done.
func TestSpareTokensAreBounded(t *testing.T) {
	r := startRig(t)
	events := r.view.Events(t.Context())
	var names []string
	for i := range 10 * spareTokens {
		names = append(names, fmt.Sprint("pod-", i))
	}
	r.sync(names...)
	var held []podEvent
	for range len(names) + 1 {
		held = append(held, take(t, events))
	}
	for _, e := range held {
		e.Done(nil)
	}
	h := r.view.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.subs[0].spare); n != spareTokens {
		t.Errorf("%d tokens are kept, want %d", n, spareTokens)
	}
}
