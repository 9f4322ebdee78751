// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"fmt"
	"maps"
	"slices"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/namespaces"
)

// observeNamespaces handles occurrences of a resource in a set of namespaces. It returns false
// for others. Health then shows the worst namespace:
//
//   - Degraded while a namespace fails, with its name.
//   - OK once each namespace of the set was listed, and then also while an added one is listed
//     for the first time.
func (r *reporter) observeNamespaces(info informer.ReflectorInfo, occurrence informer.ReflectorEvent) bool {
	if changed, ok := occurrence.(informer.NamespacesChanged); ok {
		if r.members == nil {
			r.members = map[string]informer.ReflectorInfo{}
		}
		for _, name := range changed.Removed {
			delete(r.members, name)
		}
		for _, name := range changed.Added {
			r.members[name] = informer.ReflectorInfo{Name: info.Name, Namespace: name}
		}
	} else {
		if info.Namespace == "" {
			return false
		}
		if _, is := r.members[info.Namespace]; !is {
			return true // it was removed
		}
		r.members[info.Namespace] = info
	}
	r.showNamespaces()
	return true
}

// showNamespaces shows the state of all namespaces.
func (r *reporter) showNamespaces() {
	all, failing, unlisted := r.combined(), 0, 0
	for _, m := range r.members {
		if m.Err != nil {
			failing++
		}
		if m.Passes == 0 {
			unlisted++
		}
	}
	switch {
	case all.Err != nil && isFailure(all.Cause):
		reason := informer.BackingOff{Cause: all.Cause, Err: all.Err}.String() + " in namespace " + all.Namespace
		if failing > 1 {
			reason += " and " + others(failing-1)
		}
		r.degrade(reason, all.Err)
		return
	case unlisted > 0 && r.status == "":
		r.degraded = ""
		switch r.shown.level {
		case LevelStarting:
		case LevelDegraded:
			r.say(LevelStarting, firstList, nil)
		default:
			r.starting()
		}
		return
	}
	status := fmt.Sprintf("%s, %s", howSynced(all.Polling), namespaceCount(len(r.members)))
	if unlisted > 0 {
		status += fmt.Sprintf(", %d not listed yet", unlisted)
	}
	if r.degraded == "" && r.status == status {
		r.refresh(all)
		return
	}
	r.ok(all, status)
}

// combined returns the state of all namespaces.
func (r *reporter) combined() informer.ReflectorInfo {
	return namespaces.Combine(slices.Collect(maps.Values(r.members)))
}

func namespaceCount(n int) string {
	if n == 1 {
		return "1 namespace"
	}
	return fmt.Sprintf("%d namespaces", n)
}
