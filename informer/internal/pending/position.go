// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import "github.com/apiary-go/apiary/store"

// The resume version is a low-water mark: the version before the oldest change that is not
// acknowledged. Without such a change it is the position of the sink. During a pass it is the
// version from before, or none if that cannot be used any more.

// ResumeVersion returns the low-water mark.
func (p *Queue[T]) ResumeVersion() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first != nil {
		return p.first.since
	}
	return p.position
}

// Advance brings the position to version, if that is known and not older.
func (p *Queue[T]) Advance(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version == "" || p.position == "" {
		return // only Progress has the version of a watch without one
	}
	if order, ordered := store.CompareVersions(version, p.position); ordered && order < 0 {
		return
	}
	p.settle(version)
}

// Progress brings the position to version.
func (p *Queue[T]) Progress(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(version)
}

// Forget clears the position: the server no longer has that version, or began anew.
func (p *Queue[T]) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.invalidate()
	p.settle("")
}

// Committed brings the position to the version of a pass.
func (p *Queue[T]) Committed(version string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if order, ordered := store.CompareVersions(version, p.highest); ordered && order < 0 {
		// The server was restored. Earlier versions belong to another history: a watch
		// that resumed from one would miss changes.
		p.invalidate()
		p.highest = version
	}
	p.settle(version)
}

// settle sets the position. The caller holds mu.
func (p *Queue[T]) settle(version string) {
	p.position = version
	if order, ordered := store.CompareVersions(version, p.highest); !ordered || order > 0 {
		if version != "" {
			p.highest = version
		}
	}
	Notify(p.Moved)
}

// invalidate clears the resume versions of pending changes. The caller holds mu.
func (p *Queue[T]) invalidate() {
	for c := p.first; c != nil; c = c.next {
		c.since = ""
	}
}
