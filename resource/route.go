// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/store"
)

// group has the subscribers that get the same changes. hub.mu guards it.
type group[T runtime.Object] struct{ subs []*subscriber[T] }

func (g *group[T]) add(s *subscriber[T]) {
	s.group, s.at = g, len(g.subs)
	g.subs = append(g.subs, s)
}

func (g *group[T]) remove(s *subscriber[T]) {
	g.subs = without(g.subs, s, func(s *subscriber[T]) *int { return &s.at })
}

// without removes s from subs, in which each has its index in the field at. The last one
// takes its place.
func without[T runtime.Object](subs []*subscriber[T], s *subscriber[T], at func(*subscriber[T]) *int) []*subscriber[T] {
	last := len(subs) - 1
	*at(subs[last]) = *at(s)
	subs[*at(s)], subs[last] = subs[last], nil
	return subs[:last]
}

// route has the subscribers to the values of an index. hub.mu guards it.
type route[T runtime.Object] struct {
	index  store.Index[T]
	values map[string]*group[T]
}

// routeOf returns the route of an index, and makes it if it does not exist.
func (h *hub[T]) routeOf(index store.Index[T]) *route[T] {
	for _, r := range h.routes {
		if r.index == index {
			return r
		}
	}
	r := &route[T]{index: index, values: map[string]*group[T]{}}
	h.routes = append(h.routes, r)
	return r
}

func (r *route[T]) add(s *subscriber[T], value string) {
	g := r.values[value]
	if g == nil {
		g = &group[T]{}
		r.values[value] = g
	}
	g.add(s)
}

// remove removes a subscriber, and its group if it was the last one.
func (r *route[T]) remove(s *subscriber[T], value string) {
	if s.group.remove(s); len(s.group.subs) == 0 {
		delete(r.values, value)
	}
}

// change passes a change to the subscribers of the values that the object has or had.
func (r *route[T]) change(c store.Change[T], e edit[T]) {
	if len(r.values) == 0 {
		return
	}
	cur := e.cur
	c.EachValue(r.index, func(value string, _, has bool) {
		g := r.values[value]
		if g == nil {
			return
		}
		if e.cur = nil; has {
			e.cur = cur
		}
		for _, s := range g.subs {
			s.change(e)
		}
	})
}
