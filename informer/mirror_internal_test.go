// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"testing"

	"github.com/apiary-go/apiary/store"
)

// Whoever is refused room, and all is delivered before that is noted, is not told to
// wait for what will not come.
func TestMirrorFullAndDrainedAtOnce(t *testing.T) {
	p := newPending[string](1, 100, "")
	put := func(name string) *change[string] {
		c := &change[string]{meta: store.Meta{Key: store.Key{Name: name}, Version: "1"}, size: 10}
		if p.admits(c.meta.Key, c.size) {
			p.put(c)
			return nil
		}
		return c
	}
	put("a")
	refused := put("b")
	if refused == nil {
		t.Fatal("there was room for two")
	}
	w, _ := p.take()
	p.acknowledged(w, false, 0)
	var full *store.FullError
	if err := p.full(refused.size); !errors.As(err, &full) {
		t.Fatal(err)
	}
	select {
	case <-full.Drained:
	default:
		t.Error("nothing is pending, and the watch waits")
	}
}
