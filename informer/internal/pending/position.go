// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package pending

import "github.com/apiary-go/apiary/store"

// The resume version is a low-water mark: that of the oldest change that was not
// acknowledged, as it was before that change came; if there is none, the position
// of the sink. A pass has no version that belongs to what it has brought so far;
// until it is committed the resume version is the one from before, or none if that
// is known to be of no use.

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
		return // of a watch from no version only Progress knows where it is
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

// Forget drops the position, because the server has forgotten it or has begun another
// history.
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
		// The server was restored. What was before belongs to another history,
		// and to resume from there would leave out some of this one.
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

// invalidate has what is pending leave no version to resume from. The caller holds
// mu.
func (p *Queue[T]) invalidate() {
	for c := p.first; c != nil; c = c.next {
		c.since = ""
	}
}
