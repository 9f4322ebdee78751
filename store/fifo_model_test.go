// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/apiary-go/apiary/store"
)

// fifoModel is what a FIFO must be like, said as simply as possible: everything
// that is queued in one slice.
type fifoModel struct {
	queue  []fifoEntry
	leases []*fifoLease // all that there ever were
	pass   int          // counts passes
	open   bool
	whole  bool
	closed bool
	stats  store.FIFOStats
	nth    int
}

type fifoEntry struct {
	job
	version string
	pass    int       // in which it was added
	due     time.Time // zero: not delayed
	nth     int       // among those that are due at the same time
	initial bool
}

type fifoLease struct {
	store.Lease[job]
	fifoEntry
	over, gone bool
}

func (m *fifoModel) find(name string) int {
	return slices.IndexFunc(m.queue, func(e fifoEntry) bool { return e.name == name })
}

func (m *fifoModel) lease(name string) *fifoLease {
	for _, l := range m.leases {
		if l.name == name && !l.over {
			return l
		}
	}
	return nil
}

func (m *fifoModel) add(j job, version string, replace bool) {
	i := m.find(j.name)
	if i < 0 {
		m.queue = append(m.queue, fifoEntry{job: j, version: version, pass: m.pass})
		return
	}
	m.stats.Merged++
	if !replace {
		return
	}
	e := &m.queue[i]
	e.job, e.version, e.pass = j, version, m.pass
	if !e.due.IsZero() {
		m.arrive(i)
	}
}

// arrive moves an entry to the tail.
func (m *fifoModel) arrive(i int) {
	e := m.queue[i]
	e.due = time.Time{}
	m.queue = append(slices.Delete(m.queue, i, i+1), e)
}

func (m *fifoModel) delete(name string) {
	if l := m.lease(name); l != nil {
		l.gone = true
	}
	if i := m.find(name); i >= 0 {
		m.queue = slices.Delete(m.queue, i, i+1)
		m.stats.Dropped++
	}
}

func (m *fifoModel) replace(jobs []job) (dropped []job) {
	isIn := func(name string) bool {
		return slices.ContainsFunc(jobs, func(j job) bool { return j.name == name })
	}
	for _, j := range m.list() {
		if !isIn(j.name) {
			dropped = append(dropped, j)
			m.delete(j.name)
		}
	}
	for _, l := range m.leases {
		l.gone = l.gone || !isIn(l.name)
	}
	old := m.queue
	m.queue = nil
	for _, j := range jobs {
		m.add(j, "", true)
		if i := slices.IndexFunc(old, func(e fifoEntry) bool { return e.name == j.name }); i >= 0 {
			m.stats.Merged++
			m.queue[m.find(j.name)].initial = old[i].initial
			old = slices.Delete(old, i, i+1)
		}
	}
	m.passed()
	return dropped
}

func (m *fifoModel) passed() {
	for i := range m.queue {
		if !m.whole {
			m.queue[i].initial = m.queue[i].due.IsZero()
		}
	}
	m.whole = true
}

func (m *fifoModel) end(l *fifoLease) {
	l.over = true
	if i := m.find(l.name); i >= 0 {
		m.arrive(i)
	}
}

func (m *fifoModel) retry(l *fifoLease, after time.Duration) {
	switch {
	case l.over:
		return
	case m.find(l.name) >= 0:
		m.stats.Merged++
		m.end(l)
	case l.gone:
		m.stats.Dropped++
		m.end(l)
	default:
		m.stats.Retried++
		m.end(l)
		e := l.fifoEntry
		e.initial = false
		if m.nth++; after > 0 && !m.closed {
			e.due, e.nth = time.Now().Add(after), m.nth
		}
		m.queue = append(m.queue, e)
	}
}

// arrivals moves what is due to the tail, and says when the next one is.
func (m *fifoModel) arrivals() {
	for _, e := range m.delayed() {
		if m.closed || !e.due.After(time.Now()) {
			m.arrive(m.find(e.name))
		}
	}
}

func (m *fifoModel) delayed() []fifoEntry {
	var delayed []fifoEntry
	for _, e := range m.queue {
		if !e.due.IsZero() {
			delayed = append(delayed, e)
		}
	}
	slices.SortFunc(delayed, func(a, b fifoEntry) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.nth, b.nth)) })
	return delayed
}

// ready returns the first entry that can be handed out.
func (m *fifoModel) ready() int {
	return slices.IndexFunc(m.queue, func(e fifoEntry) bool { return e.due.IsZero() && m.lease(e.name) == nil })
}

func (m *fifoModel) list() []job {
	var ready, kept []job
	for _, e := range m.queue {
		if l := m.lease(e.name); e.due.IsZero() && l == nil {
			ready = append(ready, e.job)
		} else if e.due.IsZero() {
			kept = append(kept, e.job)
		}
	}
	for _, e := range m.delayed() {
		kept = append(kept, e.job)
	}
	return append(ready, kept...)
}

func (m *fifoModel) commit() {
	for _, name := range jobNames {
		i, l := m.find(name), m.lease(name)
		if i >= 0 && m.queue[i].pass < m.pass || i < 0 && l != nil && l.pass < m.pass {
			m.delete(name)
		}
	}
	m.open = false
	m.passed()
}

// held returns what version is known of name outside of a pass.
func (m *fifoModel) held(name string) (version string, ok bool) {
	if m.open {
		return "", false
	}
	if i := m.find(name); i >= 0 {
		return m.queue[i].version, true
	}
	if l := m.lease(name); l != nil && !l.gone {
		return l.version, true
	}
	return "", false
}

func (m *fifoModel) leased() (n int) {
	for _, l := range m.leases {
		if !l.over {
			n++
		}
	}
	return n
}

func (m *fifoModel) hasSynced() bool {
	return m.whole && !slices.ContainsFunc(m.queue, func(e fifoEntry) bool { return e.initial })
}
