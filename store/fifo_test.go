// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store"
)

// job is what these tests queue.
type job struct {
	name string
	n    int
}

var (
	jobNames = []string{"a", "b", "c", "d"}
	errJob   = errors.New("this job has no key")
)

func (j job) key() store.Key { return store.Key{Name: j.name} }

// MarshalJSON implements json.Marshaler: equal jobs, equal content.
func (j job) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "[%q,%d]", j.name, j.n), nil }

func jobKey(j job) (store.Key, error) {
	if j.n < 0 {
		return store.Key{}, errJob
	}
	return j.key(), nil
}

func newFIFO(t interface{ Fatal(...any) }) *store.FIFO[job] {
	f, err := store.NewFIFO(jobKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// pop takes what is ready.
func pop(t *testing.T, f *store.FIFO[job]) store.Lease[job] {
	t.Helper()
	l, err := f.Pop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantJobs compares jobs, written as name and number.
func wantJobs(t *testing.T, got []job, want ...string) {
	t.Helper()
	var names []string
	for _, j := range got {
		names = append(names, fmt.Sprint(j.name, j.n))
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestNewFIFOWithoutKeyFunc(t *testing.T) {
	if _, err := store.NewFIFO[job](nil); err == nil || !strings.Contains(err.Error(), "MetaNamespaceKeyFunc") {
		t.Errorf("the error is %v", err)
	}
}

func TestFIFOPlaces(t *testing.T) {
	f := newFIFO(t)
	must(t, f.Add(job{"a", 1}), f.Add(job{"b", 2}), f.Update(job{"a", 3}), f.AddIfNotPresent(job{"b", 4}), f.AddIfNotPresent(job{"c", 5}))
	wantJobs(t, f.List(), "a3", "b2", "c5")
	must(t, f.Delete(job{"a", 0}), f.Add(job{"a", 6}))
	wantJobs(t, f.List(), "b2", "c5", "a6")
	f.List()[0] = job{}
	wantJobs(t, f.List(), "b2", "c5", "a6")
	if got := pop(t, f).Object(); got != (job{"b", 2}) {
		t.Errorf("popped %v", got)
	}
}

func TestFIFOBadKey(t *testing.T) {
	f := newFIFO(t)
	must(t, f.Add(job{"a", 1}))
	_, replaced := f.Replace([]job{{"b", 1}, {"c", -1}})
	for _, err := range []error{f.Add(job{"b", -1}), f.Update(job{"b", -1}), f.AddIfNotPresent(job{"b", -1}), f.Delete(job{"a", -1}), replaced} {
		if !errors.Is(err, errJob) || !strings.Contains(err.Error(), "store_test.job") {
			t.Errorf("the error is %v", err)
		}
	}
	if !strings.Contains(replaced.Error(), "object 2 of 2") {
		t.Errorf("the error is %v", replaced)
	}
	if err := f.Add(job{}); err == nil {
		t.Error("an object without a name was queued")
	}
	wantJobs(t, f.List(), "a1")
}

func TestFIFOReplace(t *testing.T) {
	f := newFIFO(t)
	must(t, f.Add(job{"a", 1}), f.Add(job{"b", 1}), f.Add(job{"c", 1}), f.Add(job{"d", 1}))
	dropped, err := f.Replace([]job{{"e", 2}, {"c", 2}, {"b", 2}, {"e", 3}})
	must(t, err)
	wantJobs(t, dropped, "a1", "d1")
	wantJobs(t, f.List(), "e3", "c2", "b2")
}

func TestFIFOLeaseExcludesItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		must(t, f.Add(job{"a", 1}))
		first := pop(t, f)
		if _, queued := f.Get(first.Key()); queued || f.Len() != 0 {
			t.Error("what is leased is queued as well")
		}
		must(t, f.Add(job{"a", 2}), f.Add(job{"b", 1}))
		if l := pop(t, f); l.Key().Name != "b" {
			t.Fatalf("popped %v while its key was leased", l.Object())
		}
		got := make(chan job)
		go func() { got <- pop(t, f).Object() }()
		synctest.Wait()
		must(t, f.Add(job{"a", 3}))
		synctest.Wait()
		select {
		case j := <-got:
			t.Fatalf("popped %v while its key was leased", j)
		default:
		}
		first.Done()
		if j := <-got; j != (job{"a", 3}) {
			t.Errorf("popped %v", j)
		}
		if first.Object() != (job{"a", 1}) {
			t.Errorf("the first lease became %v", first.Object())
		}
	})
}

func TestFIFOLeaseTwice(t *testing.T) {
	f := newFIFO(t)
	must(t, f.Add(job{"a", 1}))
	first := pop(t, f)
	first.Retry(0)
	second := pop(t, f)
	first.Done()
	first.Retry(0)
	if s := f.Stats(); s.Leased != 1 || s.Queued != 0 || s.Retried != 1 {
		t.Errorf("an old lease ended the new one: %+v", s)
	}
	if second.Object() != first.Object() || second.Key() != first.Key() {
		t.Errorf("put back as %v", second.Object())
	}
	second.Done()
	second.Retry(0)
	var zero store.Lease[job]
	zero.Done()
	zero.Retry(0)
	if s := f.Stats(); s.Leased != 0 || s.Queued != 0 {
		t.Errorf("put back after Done: %+v", s)
	}
}

func TestFIFORetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		start := time.Now()
		must(t, f.Add(job{"a", 1}), f.Add(job{"b", 1}), f.Add(job{"c", 1}))
		pop(t, f).Retry(2 * time.Second)
		pop(t, f).Retry(time.Second)
		if s := f.Stats(); s.Delayed != 2 || s.Queued != 3 {
			t.Errorf("stats %+v", s)
		}
		wantJobs(t, f.List(), "c1", "b1", "a1")
		for _, want := range []struct {
			name  string
			after time.Duration
		}{{"c", 0}, {"b", time.Second}, {"a", 2 * time.Second}} {
			if l := pop(t, f); l.Key().Name != want.name || time.Since(start) != want.after {
				t.Errorf("popped %s after %v, want %s after %v", l.Key(), time.Since(start), want.name, want.after)
			}
		}
	})
}

func TestFIFORetryInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		for _, name := range jobNames {
			must(t, f.Add(job{name, 1}))
			pop(t, f).Retry(time.Second)
		}
		wantJobs(t, f.List(), "a1", "b1", "c1", "d1")
		time.Sleep(time.Second)
		synctest.Wait()
		wantJobs(t, f.List(), "a1", "b1", "c1", "d1")
	})
}

// TestFIFORetryUnattended has a delay end while nobody is in Pop.
func TestFIFORetryUnattended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		must(t, f.Add(job{"a", 1}))
		pop(t, f).Retry(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := f.Stats(); s.Delayed != 0 || s.Queued != 1 {
			t.Errorf("stats %+v", s)
		}
		must(t, f.Add(job{"b", 1}))
		wantJobs(t, f.List(), "a1", "b1")
	})
}

func TestFIFOLaterWinsOverRetry(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later func(f *store.FIFO[job]) error
		want  []string // what is queued at once, if the Retry has a delay
	}{
		{"add", func(f *store.FIFO[job]) error { return f.Add(job{"a", 2}) }, []string{"a2"}},
		{"delete", func(f *store.FIFO[job]) error { return f.Delete(job{"a", 2}) }, nil},
		{"add and delete", func(f *store.FIFO[job]) error {
			return errors.Join(f.Add(job{"a", 2}), f.Delete(job{"a", 2}))
		}, nil},
		{"delete and add", func(f *store.FIFO[job]) error {
			return errors.Join(f.Delete(job{"a", 2}), f.Add(job{"a", 2}))
		}, []string{"a2"}},
		{"replace", func(f *store.FIFO[job]) error { _, err := f.Replace(nil); return err }, nil},
	} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/before=%t", tt.name, before), func(t *testing.T) {
				f := newFIFO(t)
				must(t, f.Add(job{"a", 1}))
				l := pop(t, f)
				if before {
					must(t, tt.later(f))
				}
				l.Retry(time.Hour)
				if !before {
					must(t, tt.later(f))
				}
				wantJobs(t, f.List(), tt.want...)
				if s := f.Stats(); s.Delayed != 0 || s.Leased != 0 || s.Merged+s.Dropped == 0 {
					t.Errorf("stats %+v", s)
				}
			})
		}
	}
}

func TestFIFOPopEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		errWhy := errors.New("no more work")
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error)
		go func() {
			_, err := f.Pop(ctx)
			failed <- err
		}()
		synctest.Wait()
		cancel(errWhy)
		if err := <-failed; !errors.Is(err, errWhy) {
			t.Errorf("the error is %v", err)
		}
		must(t, f.Add(job{"a", 1}))
		if _, err := f.Pop(ctx); !errors.Is(err, errWhy) {
			t.Errorf("the error is %v", err)
		}
		wantJobs(t, f.List(), "a1")
	})
}

func TestFIFOClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		start := time.Now()
		must(t, f.Add(job{"a", 1}), f.Add(job{"b", 1}), f.Add(job{"c", 1}))
		pop(t, f).Retry(time.Hour)
		b := pop(t, f)
		must(t, f.Add(job{"b", 2}))
		f.Close()
		f.Close()
		_, err := f.Replace(nil)
		for _, err := range []error{f.Add(job{"d", 1}), f.Update(job{"a", 2}), f.AddIfNotPresent(job{"a", 2}), err} {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		c := pop(t, f)
		c.Done()
		a := pop(t, f)
		a.Retry(time.Hour)
		pop(t, f).Done()

		ended := make(chan error, 3)
		for range 3 {
			go func() {
				l, err := f.Pop(t.Context())
				for err == nil {
					l.Done()
					l, err = f.Pop(t.Context())
				}
				ended <- err
			}()
		}
		synctest.Wait()
		if len(ended) > 0 {
			t.Errorf("Pop failed while b is leased: %v", <-ended)
		}
		b.Done()
		for range 3 {
			if err := <-ended; !errors.Is(err, store.ErrClosed) {
				t.Errorf("at the end: %v", err)
			}
		}
		if s := f.Stats(); s.Popped != 6 || s.Queued != 0 || time.Since(start) != 0 {
			t.Errorf("stats %+v after %v", s, time.Since(start))
		}
		must(t, f.Delete(job{"a", 0}))
	})
}

// TestFIFOLastDoneEndsPops has nobody pop again after the last Done.
func TestFIFOLastDoneEndsPops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		must(t, f.Add(job{"a", 1}))
		l := pop(t, f)
		f.Close()
		ended := make(chan error)
		for range 2 {
			go func() {
				_, err := f.Pop(t.Context())
				ended <- err
			}()
		}
		synctest.Wait()
		l.Done()
		for range 2 {
			if err := <-ended; !errors.Is(err, store.ErrClosed) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

func TestFIFOHasSynced(t *testing.T) {
	f := newFIFO(t)
	must(t, f.Add(job{"z", 1}))
	pop(t, f).Done()
	if f.HasSynced() {
		t.Error("synced without a pass")
	}
	_, err := f.Replace([]job{{"a", 1}, {"b", 1}, {"c", 1}})
	must(t, err, f.Add(job{"a", 2}), f.Add(job{"later", 1}), f.Delete(job{"b", 1}))
	pop(t, f)
	if f.HasSynced() {
		t.Error("synced before c was handed out")
	}
	pop(t, f).Retry(0)
	if !f.HasSynced() {
		t.Error("not synced")
	}
	_, err = f.Replace([]job{{"a", 3}})
	must(t, err)
	if !f.HasSynced() {
		t.Error("no longer synced")
	}
	empty := newFIFO(t)
	_, err = empty.Replace(nil)
	if must(t, err); !empty.HasSynced() {
		t.Error("not synced after an empty Replace")
	}
}
