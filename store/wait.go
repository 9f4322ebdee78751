// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoOrder is the error of [Store.WaitFor] for a version that cannot be ordered.
var ErrNoOrder = errors.New("not a resource version that can be ordered")

// WaitFor blocks until the store is at version or a newer one. With the version that a
// write to the server returned, it waits until the written object can be read here. The
// version must be of the same resource and server.
//
// The store reaches a version by a change, by progress or at the end of a pass. With parts,
// WaitFor waits until every [Part] is at the version. If
// version cannot be ordered, for example because it is empty, WaitFor returns
// [ErrNoOrder] at once. If ctx ends, the error wraps its cause and has the version of the
// store.
func (s *Store[T]) WaitFor(ctx context.Context, version string) error {
	if _, ordered := CompareVersions(version, version); !ordered {
		return fmt.Errorf("store %s: wait for version %q: %w", s.name, version, ErrNoOrder)
	}
	for {
		changed := s.changes.next()
		at := s.Version()
		if order, ordered := CompareVersions(at, version); ordered && order >= 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("store %s: wait for version %s, it is at %q: %w", s.name, version, at, context.Cause(ctx))
		}
	}
}
