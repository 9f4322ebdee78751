// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Set is a set of namespaces that can change at any time. Several resources can share one.
// The zero Set is empty and can be used. A Set must not be copied.
//
// All methods can be called from any goroutine, also before the start, from hooks and from
// observers. They do not block, and do not wait until resources follow. A namespace need not
// exist on the server. Methods that fail because of an invalid name change nothing.
type Set struct {
	mu      sync.Mutex
	names   map[string]struct{}
	changed chan struct{} // closed at the next change; nil if nothing waits for it
}

// NewSet returns a set of namespaces. It fails if a name is invalid. Duplicates count once.
func NewSet(names ...string) (*Set, error) {
	s := &Set{}
	return s, s.Set(names...)
}

// Set makes names the whole set. Namespaces that were in the set are not touched.
func (s *Set) Set(names ...string) error {
	if err := validate(names); err != nil {
		return err
	}
	s.change(func() {
		clear(s.names)
		s.add(names)
	})
	return nil
}

// Add adds namespaces that are not in the set.
func (s *Set) Add(names ...string) error {
	if err := validate(names); err != nil {
		return err
	}
	s.change(func() { s.add(names) })
	return nil
}

// Remove removes namespaces that are in the set.
func (s *Set) Remove(names ...string) {
	s.change(func() {
		for _, name := range names {
			delete(s.names, name)
		}
	})
}

// Names returns the namespaces, sorted. The caller owns the slice.
func (s *Set) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.names))
}

// watch returns the namespaces, sorted, and a channel that is closed at the next change.
func (s *Set) watch() ([]string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return slices.Sorted(maps.Keys(s.names)), s.changed
}

func (s *Set) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

func (s *Set) add(names []string) {
	if s.names == nil {
		s.names = map[string]struct{}{}
	}
	for _, name := range names {
		s.names[name] = struct{}{}
	}
}

func validate(names []string) error {
	for _, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%q is not the name of a namespace: %s", name, strings.Join(problems, "; "))
		}
	}
	return nil
}
