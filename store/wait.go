// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoOrder says that a resource version cannot be waited for, since it is not one
// of those that can be ordered.
var ErrNoOrder = errors.New("not a resource version that can be ordered")

// WaitFor blocks until the store is at version, or a newer one: with the version
// that a write to the server returned, until what was written can be read here.
//
// The version must be one of the same resource; versions of others, and of other
// servers, mean nothing. The store gets there by a change, by progress or by the
// end of a pass. A version that is not a number that can be compared fails at once
// with [ErrNoOrder]: an empty one, for instance. When ctx ends the error wraps its
// cause, and says what the store is at.
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
