// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/apiary-go/apiary/store"
	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

// pop pops the next object, and returns the expected result of a Pop that waits for all
// delays.
func (m *fifoModel) pop(t *rapid.T, f *fifo.FIFO[storetest.Job]) {
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
			want = fifo.ErrClosed
		}
		if !errors.Is(err, want) {
			t.Fatalf("Pop: %v, %v, want %v", l, err, want)
		}
		return
	}
	e := m.queue[i]
	if err != nil || l.Object() != e.Job || l.Key() != e.Key() {
		t.Fatalf("Pop: %v, %v, want %v", l, err, e.Job)
	}
	m.queue = slices.Delete(m.queue, i, i+1)
	m.leases = append(m.leases, &fifoLease{Lease: l, fifoEntry: e})
	m.stats.Popped++
}

// check compares all that can be seen.
func (m *fifoModel) check(t *rapid.T, f *fifo.FIFO[storetest.Job]) {
	list := m.list()
	if got := f.List(); !slices.Equal(got, list) || f.Len() != len(list) {
		t.Fatalf("List: %v (%d), want %v", got, f.Len(), list)
	}
	for _, name := range storetest.JobNames {
		got, ok := f.Get(store.Key{Name: name})
		if i := m.find(name); ok != (i >= 0) || ok && got != m.queue[i].Job {
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

func fifoActions(m *fifoModel, f *fifo.FIFO[storetest.Job]) map[string]func(*rapid.T) {
	n, sink := 0, f.Sink()
	anyJob := rapid.Custom(func(t *rapid.T) storetest.Job {
		n++
		return storetest.NewJob(rapid.SampledFrom(storetest.JobNames).Draw(t, "name"), n)
	})
	add := func(call func(storetest.Job) error, replace bool) func(*rapid.T) {
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
			m.delete(j.Name)
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
			meta := store.Meta{Key: j.Key(), Version: fmt.Sprint(rapid.IntRange(1, 20).Draw(t, "version"))}
			if !wantOpen(t, m, sink.Apply(t.Context(), meta, j)) {
				return
			}
			if held, ok := m.held(j.Name); ok && !store.Supersedes(meta.Version, held) {
				m.stats.Stale++
				return
			}
			m.add(j, meta.Version, true)
		},
		"sinkDelete": func(t *rapid.T) {
			j := anyJob.Draw(t, "job")
			m.delete(j.Name)
			_ = sink.Delete(t.Context(), store.Meta{Key: j.Key()}, storetest.Job{}, false)
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
	if m.closed != errors.Is(err, fifo.ErrClosed) || !m.closed && err != nil {
		t.Fatal(err)
	}
	return !m.closed
}
