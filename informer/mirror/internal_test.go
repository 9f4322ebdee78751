// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"errors"
	"testing"

	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/store"
)

// A change is refused, and all others are delivered before the pause begins. The pause
// then ends at once.
func TestMirrorFullAndDrainedAtOnce(t *testing.T) {
	p := pending.New[string](1, 100, "")
	put := func(name string) *pending.Change[string] {
		c := &pending.Change[string]{Meta: store.Meta{Key: store.Key{Name: name}, Version: "1"}, Size: 10}
		if p.Admits(c.Meta.Key, c.Size) {
			p.Put(c)
			return nil
		}
		return c
	}
	put("a")
	refused := put("b")
	if refused == nil {
		t.Fatal("there was room for two")
	}
	w, _ := p.Take()
	p.Acknowledged(w, false, 0)
	var full *store.FullError
	if err := p.Full(refused.Size); !errors.As(err, &full) {
		t.Fatal(err)
	}
	select {
	case <-full.Drained:
	default:
		t.Error("nothing is pending, and the watch waits")
	}
}
