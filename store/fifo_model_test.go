// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

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
	*store.Lease[job]
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

// pop takes the next object, and says what must come of a Pop that waits for as
// long as something can come by itself.
func (m *fifoModel) pop(t *rapid.T, f *store.FIFO[job]) {
	ctx := t.Context()
	delayed := m.delayed()
	if m.ready() < 0 && len(delayed) == 0 && (!m.closed || m.leased() > 0) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	l, err := f.Pop(ctx)
	synctest.Wait()
	m.arrivals()
	i := m.ready()
	if i < 0 {
		want := context.DeadlineExceeded
		if m.closed && m.leased() == 0 {
			want = store.ErrClosed
		}
		if !errors.Is(err, want) {
			t.Fatalf("Pop: %v, %v, want %v", l, err, want)
		}
		return
	}
	e := m.queue[i]
	if err != nil || l.Object() != e.job || l.Key() != e.key() {
		t.Fatalf("Pop: %v, %v, want %v", l, err, e.job)
	}
	m.queue = slices.Delete(m.queue, i, i+1)
	m.leases = append(m.leases, &fifoLease{Lease: l, fifoEntry: e})
	m.stats.Popped++
}

// check compares all that can be seen.
func (m *fifoModel) check(t *rapid.T, f *store.FIFO[job]) {
	list := m.list()
	if got := f.List(); !slices.Equal(got, list) || f.Len() != len(list) {
		t.Fatalf("List: %v (%d), want %v", got, f.Len(), list)
	}
	for _, name := range jobNames {
		got, ok := f.Get(store.Key{Name: name})
		if i := m.find(name); ok != (i >= 0) || ok && got != m.queue[i].job {
			t.Fatalf("Get(%s) = %v, %t", name, got, ok)
		}
	}
	want := m.stats
	want.Queued, want.Delayed, want.Leased = len(list), len(m.delayed()), m.leased()
	if got := f.Stats(); got != want {
		t.Fatalf("stats:\ngot  %+v\nwant %+v", got, want)
	}
	if f.HasSynced() != m.hasSynced() {
		t.Fatalf("HasSynced is %t", f.HasSynced())
	}
}

// TestFIFOModel drives a FIFO and its model with the same calls, and compares
// everything that can be seen of them after each.
func TestFIFOModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ testing.TB }{t}, func(t *rapid.T) {
			f := newFIFO(t)
			m := &fifoModel{}
			actions := fifoActions(m, f)
			actions[""] = func(t *rapid.T) { m.check(t, f) }
			t.Repeat(actions)
			f.Close()
		})
	})
}

func fifoActions(m *fifoModel, f *store.FIFO[job]) map[string]func(*rapid.T) {
	n, sink := 0, f.Sink()
	anyJob := rapid.Custom(func(t *rapid.T) job {
		n++
		return job{rapid.SampledFrom(jobNames).Draw(t, "name"), n}
	})
	add := func(call func(job) error, replace bool) func(*rapid.T) {
		return func(t *rapid.T) {
			j := anyJob.Draw(t, "job")
			if !wantOpen(t, m, call(j)) {
				return
			}
			m.add(j, "", replace)
		}
	}
	lease := func(t *rapid.T) *fifoLease {
		if len(m.leases) == 0 {
			t.Skip("nothing was popped")
		}
		last := len(m.leases) - 1
		return m.leases[rapid.IntRange(max(0, last-5), last).Draw(t, "lease")]
	}
	pop := func(t *rapid.T) { m.pop(t, f) }
	return map[string]func(*rapid.T){
		"add":             add(f.Add, true),
		"update":          add(f.Update, true),
		"addIfNotPresent": add(f.AddIfNotPresent, false),
		"pop":             pop,
		"pop2":            pop,
		"delete": func(t *rapid.T) {
			j := anyJob.Draw(t, "job")
			m.delete(j.name)
			if err := f.Delete(j); err != nil {
				t.Fatal(err)
			}
		},
		"replace": func(t *rapid.T) {
			jobs := rapid.SliceOfN(anyJob, 0, 5).Draw(t, "jobs")
			dropped, err := f.Replace(jobs)
			if !wantOpen(t, m, err) {
				return
			}
			if want := m.replace(jobs); !slices.Equal(dropped, want) {
				t.Fatalf("dropped %v, want %v", dropped, want)
			}
		},
		"done": func(t *rapid.T) {
			l := lease(t)
			if l.Done(); !l.over {
				m.end(l)
			}
		},
		"retry": func(t *rapid.T) {
			l, after := lease(t), time.Duration(rapid.IntRange(-1, 5).Draw(t, "after"))*time.Second
			l.Retry(after)
			m.retry(l, after)
		},
		"sleep": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 4).Draw(t, "seconds")) * time.Second)
			synctest.Wait()
			m.arrivals()
		},
		"close": func(t *rapid.T) {
			if rapid.IntRange(0, 9).Draw(t, "really") == 0 {
				f.Close()
				m.closed = true
				m.arrivals()
			}
		},
		"begin": func(t *rapid.T) {
			m.open = true
			m.pass++
			_ = sink.Begin(t.Context(), store.Pass{})
		},
		"apply": func(t *rapid.T) {
			j := anyJob.Draw(t, "job")
			meta := store.Meta{Key: j.key(), Version: fmt.Sprint(rapid.IntRange(1, 20).Draw(t, "version"))}
			if !wantOpen(t, m, sink.Apply(t.Context(), meta, j)) {
				return
			}
			if held, ok := m.held(j.name); ok && !store.Supersedes(meta.Version, held) {
				m.stats.Stale++
				return
			}
			m.add(j, meta.Version, true)
		},
		"sinkDelete": func(t *rapid.T) {
			j := anyJob.Draw(t, "job")
			m.delete(j.name)
			_ = sink.Delete(t.Context(), store.Meta{Key: j.key()}, job{}, false)
		},
		"commit": func(t *rapid.T) {
			err := sink.Commit(t.Context(), "1")
			if !m.open {
				if !errors.Is(err, store.ErrNoPass) {
					t.Fatalf("commit without a pass: %v", err)
				}
				return
			}
			m.commit()
		},
		"abort": func(t *rapid.T) {
			m.open = false
			sink.Abort(store.Pass{}, errors.New("broken off"))
		},
	}
}

// wantOpen checks err against whether the queue is closed.
func wantOpen(t *rapid.T, m *fifoModel, err error) bool {
	if m.closed != errors.Is(err, store.ErrClosed) || !m.closed && err != nil {
		t.Fatal(err)
	}
	return !m.closed
}
