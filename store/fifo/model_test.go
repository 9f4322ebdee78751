// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// fifoModel is the simplest implementation of a FIFO: one slice of everything queued.
type fifoModel struct {
	queue  []fifoEntry
	leases []*fifoLease // all that there ever were
	pass   int          // counts passes
	open   bool
	whole  bool
	closed bool
	stats  fifo.Stats
	nth    int
}

type fifoEntry struct {
	storetest.Job
	version string
	pass    int       // in which it was added
	due     time.Time // zero: not delayed
	nth     int       // among those that are due at the same time
	initial bool
}

type fifoLease struct {
	fifo.Lease[storetest.Job]
	fifoEntry
	over, gone bool
}

func (m *fifoModel) find(name string) int {
	return slices.IndexFunc(m.queue, func(e fifoEntry) bool { return e.Name == name })
}

func (m *fifoModel) lease(name string) *fifoLease {
	for _, l := range m.leases {
		if l.Name == name && !l.over {
			return l
		}
	}
	return nil
}

func (m *fifoModel) add(j storetest.Job, version string, replace bool) {
	i := m.find(j.Name)
	if i < 0 {
		m.queue = append(m.queue, fifoEntry{Job: j, version: version, pass: m.pass})
		return
	}
	m.stats.Merged++
	if !replace {
		return
	}
	e := &m.queue[i]
	e.Job, e.version, e.pass = j, version, m.pass
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

func (m *fifoModel) replace(jobs []storetest.Job) (dropped []storetest.Job) {
	isIn := func(name string) bool {
		return slices.ContainsFunc(jobs, func(j storetest.Job) bool { return j.Name == name })
	}
	for _, j := range m.list() {
		if !isIn(j.Name) {
			dropped = append(dropped, j)
			m.delete(j.Name)
		}
	}
	for _, l := range m.leases {
		l.gone = l.gone || !isIn(l.Name)
	}
	old := m.queue
	m.queue = nil
	for _, j := range jobs {
		m.add(j, "", true)
		if i := slices.IndexFunc(old, func(e fifoEntry) bool { return e.Name == j.Name }); i >= 0 {
			m.stats.Merged++
			m.queue[m.find(j.Name)].initial = old[i].initial
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
	if i := m.find(l.Name); i >= 0 {
		m.arrive(i)
	}
}

func (m *fifoModel) retry(l *fifoLease, after time.Duration) {
	switch {
	case l.over:
		return
	case m.find(l.Name) >= 0:
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

// arrivals moves due entries to the tail.
func (m *fifoModel) arrivals() {
	for _, e := range m.delayed() {
		if m.closed || !e.due.After(time.Now()) {
			m.arrive(m.find(e.Name))
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
	return slices.IndexFunc(m.queue, func(e fifoEntry) bool { return e.due.IsZero() && m.lease(e.Name) == nil })
}

func (m *fifoModel) list() []storetest.Job {
	var ready, kept []storetest.Job
	for _, e := range m.queue {
		if l := m.lease(e.Name); e.due.IsZero() && l == nil {
			ready = append(ready, e.Job)
		} else if e.due.IsZero() {
			kept = append(kept, e.Job)
		}
	}
	for _, e := range m.delayed() {
		kept = append(kept, e.Job)
	}
	return append(ready, kept...)
}

func (m *fifoModel) commit() {
	for _, name := range storetest.JobNames {
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
