// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package namespaces

import (
	"cmp"
	"slices"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/store"
)

// leftOutMost is how many objects [informer.ReflectorInfo].LeftOut has at most.
const leftOutMost = 100

// Combine returns one state for those of several namespaces:
//
//   - State, Err and Cause are those of the worst one: one that fails before its first list
//     is complete, else one that fails, else one whose first list is not complete. If it
//     fails, Namespace is its namespace, and empty otherwise.
//   - Counters are sums. Passes is 0 until each namespace has one.
//   - Version and Contact are the oldest ones, Polling is the first one.
func Combine(members []informer.ReflectorInfo) informer.ReflectorInfo {
	if len(members) == 0 {
		return informer.ReflectorInfo{State: informer.StateIdle}
	}
	worst := slices.MinFunc(members, func(a, b informer.ReflectorInfo) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(a.Namespace, b.Namespace))
	})
	all := informer.ReflectorInfo{
		Name: worst.Name, State: worst.State, Err: worst.Err, Cause: worst.Cause,
		Version: worst.Version, Contact: worst.Contact,
	}
	if worst.Err != nil {
		all.Namespace = worst.Namespace
	}
	var sized int64
	synced := true
	for _, m := range members {
		add(&all, m)
		synced = synced && m.Passes > 0
		if m.ObjectBytes > 0 {
			all.ObjectBytes += m.ObjectBytes
			sized++
		}
		if m.Contact.Before(all.Contact) {
			all.Contact = m.Contact
		}
		if order, ordered := store.CompareVersions(m.Version, all.Version); ordered && order < 0 || m.Version == "" {
			all.Version = m.Version
		}
		all.Polling = cmp.Or(all.Polling, m.Polling)
		all.LeftOut = append(all.LeftOut, m.LeftOut...)
		all.MoreLeftOut = all.MoreLeftOut || m.MoreLeftOut
	}
	if !synced {
		all.Passes = 0
	}
	if sized > 0 {
		all.ObjectBytes /= sized
	}
	slices.SortFunc(all.LeftOut, func(a, b informer.LeftOut) int { return a.Meta.Key.Compare(b.Meta.Key) })
	if len(all.LeftOut) > leftOutMost {
		all.LeftOut, all.MoreLeftOut = all.LeftOut[:leftOutMost], true
	}
	return all
}

// add adds the counters of info to those of sum.
func add(sum *informer.ReflectorInfo, info informer.ReflectorInfo) {
	sum.Epoch += info.Epoch
	sum.Passes += info.Passes
	sum.WatchEvents += info.WatchEvents
	sum.Panics += info.Panics
}

// rank orders states from the worst to the best.
func rank(m informer.ReflectorInfo) int {
	switch {
	case m.Err != nil && m.Passes == 0:
		return 0
	case m.Err != nil:
		return 1
	case m.Passes == 0:
		return 2
	case m.State != informer.StateWatching:
		return 3
	}
	return 4
}

// Info returns the state of all namespaces together, as [Combine] does. Its counters include
// namespaces that were removed. It can be called from any goroutine.
func (r *Reflector[T]) Info() informer.ReflectorInfo {
	r.mu.Lock()
	past := r.past
	for _, m := range r.leaving {
		add(&past, m.reflector.Info())
	}
	infos := r.infos()
	r.mu.Unlock()
	all := Combine(infos)
	all.Name, all.Version = r.cfg.Name, r.cfg.Store.Version()
	if all.Passes > 0 {
		all.Passes += past.Passes
	}
	all.Epoch += past.Epoch
	all.WatchEvents += past.WatchEvents
	all.Panics += past.Panics + r.root.Info().Panics + r.panics.Count()
	return all
}

// Members returns the state of each namespace, sorted by Namespace. It can be called from
// any goroutine.
func (r *Reflector[T]) Members() []informer.ReflectorInfo {
	r.mu.Lock()
	infos := r.infos()
	r.mu.Unlock()
	slices.SortFunc(infos, func(a, b informer.ReflectorInfo) int { return cmp.Compare(a.Namespace, b.Namespace) })
	return infos
}

// infos returns the state of each namespace. The caller holds mu.
func (r *Reflector[T]) infos() []informer.ReflectorInfo {
	infos := make([]informer.ReflectorInfo, 0, len(r.members))
	for _, m := range r.members {
		infos = append(infos, m.reflector.Info())
	}
	return infos
}
