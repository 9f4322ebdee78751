// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store/fifo"
	"github.com/apiary-go/apiary/store/internal/storetest"
)

func newFIFO(t interface{ Fatal(...any) }) *fifo.FIFO[storetest.Job] {
	f, err := fifo.New(storetest.JobKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// pop pops an object that is ready.
func pop(t *testing.T, f *fifo.FIFO[storetest.Job]) fifo.Lease[storetest.Job] {
	t.Helper()
	l, err := f.Pop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantJobs compares jobs, written as name and number.
func wantJobs(t *testing.T, got []storetest.Job, want ...string) {
	t.Helper()
	var names []string
	for _, j := range got {
		names = append(names, fmt.Sprint(j.Name, j.N))
	}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestNewFIFOWithoutKeyFunc(t *testing.T) {
	if _, err := fifo.New[storetest.Job](nil); err == nil || !strings.Contains(err.Error(), "MetaNamespaceKeyFunc") {
		t.Errorf("the error is %v", err)
	}
}

func TestFIFOPlaces(t *testing.T) {
	f := newFIFO(t)
	storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 2)), f.Update(storetest.NewJob("a", 3)), f.AddIfNotPresent(storetest.NewJob("b", 4)), f.AddIfNotPresent(storetest.NewJob("c", 5)))
	wantJobs(t, f.List(), "a3", "b2", "c5")
	storetest.Must(t, f.Delete(storetest.NewJob("a", 0)), f.Add(storetest.NewJob("a", 6)))
	wantJobs(t, f.List(), "b2", "c5", "a6")
	f.List()[0] = storetest.Job{}
	wantJobs(t, f.List(), "b2", "c5", "a6")
	if got := pop(t, f).Object(); got != (storetest.NewJob("b", 2)) {
		t.Errorf("popped %v", got)
	}
}

func TestFIFOBadKey(t *testing.T) {
	f := newFIFO(t)
	storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
	_, replaced := f.Replace([]storetest.Job{storetest.NewJob("b", 1), storetest.NewJob("c", -1)})
	for _, err := range []error{f.Add(storetest.NewJob("b", -1)), f.Update(storetest.NewJob("b", -1)), f.AddIfNotPresent(storetest.NewJob("b", -1)), f.Delete(storetest.NewJob("a", -1)), replaced} {
		if !errors.Is(err, storetest.ErrJob) || !strings.Contains(err.Error(), "storetest.Job") {
			t.Errorf("the error is %v", err)
		}
	}
	if !strings.Contains(replaced.Error(), "object 2 of 2") {
		t.Errorf("the error is %v", replaced)
	}
	if err := f.Add(storetest.Job{}); err == nil {
		t.Error("an object without a name was queued")
	}
	wantJobs(t, f.List(), "a1")
}

func TestFIFOReplace(t *testing.T) {
	f := newFIFO(t)
	storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 1)), f.Add(storetest.NewJob("c", 1)), f.Add(storetest.NewJob("d", 1)))
	dropped, err := f.Replace([]storetest.Job{storetest.NewJob("e", 2), storetest.NewJob("c", 2), storetest.NewJob("b", 2), storetest.NewJob("e", 3)})
	storetest.Must(t, err)
	wantJobs(t, dropped, "a1", "d1")
	wantJobs(t, f.List(), "e3", "c2", "b2")
}

func TestFIFOLeaseExcludesItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
		first := pop(t, f)
		if _, queued := f.Get(first.Key()); queued || f.Len() != 0 {
			t.Error("what is leased is queued as well")
		}
		storetest.Must(t, f.Add(storetest.NewJob("a", 2)), f.Add(storetest.NewJob("b", 1)))
		if l := pop(t, f); l.Key().Name != "b" {
			t.Fatalf("popped %v while its key was leased", l.Object())
		}
		got := make(chan storetest.Job)
		go func() { got <- pop(t, f).Object() }()
		synctest.Wait()
		storetest.Must(t, f.Add(storetest.NewJob("a", 3)))
		synctest.Wait()
		select {
		case j := <-got:
			t.Fatalf("popped %v while its key was leased", j)
		default:
		}
		first.Done()
		if j := <-got; j != (storetest.NewJob("a", 3)) {
			t.Errorf("popped %v", j)
		}
		if first.Object() != (storetest.NewJob("a", 1)) {
			t.Errorf("the first lease became %v", first.Object())
		}
	})
}

func TestFIFOLeaseTwice(t *testing.T) {
	f := newFIFO(t)
	storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
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
	var zero fifo.Lease[storetest.Job]
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
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 1)), f.Add(storetest.NewJob("c", 1)))
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
		for _, name := range storetest.JobNames {
			storetest.Must(t, f.Add(storetest.NewJob(name, 1)))
			pop(t, f).Retry(time.Second)
		}
		wantJobs(t, f.List(), "a1", "b1", "c1", "d1")
		time.Sleep(time.Second)
		synctest.Wait()
		wantJobs(t, f.List(), "a1", "b1", "c1", "d1")
	})
}

// TestFIFORetryUnattended ends a delay while no Pop waits.
func TestFIFORetryUnattended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
		pop(t, f).Retry(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := f.Stats(); s.Delayed != 0 || s.Queued != 1 {
			t.Errorf("stats %+v", s)
		}
		storetest.Must(t, f.Add(storetest.NewJob("b", 1)))
		wantJobs(t, f.List(), "a1", "b1")
	})
}

func TestFIFOLaterWinsOverRetry(t *testing.T) {
	for _, tt := range []struct {
		name  string
		later func(f *fifo.FIFO[storetest.Job]) error
		want  []string // what is queued at once, if the Retry has a delay
	}{
		{"add", func(f *fifo.FIFO[storetest.Job]) error { return f.Add(storetest.NewJob("a", 2)) }, []string{"a2"}},
		{"delete", func(f *fifo.FIFO[storetest.Job]) error { return f.Delete(storetest.NewJob("a", 2)) }, nil},
		{"add and delete", func(f *fifo.FIFO[storetest.Job]) error {
			return errors.Join(f.Add(storetest.NewJob("a", 2)), f.Delete(storetest.NewJob("a", 2)))
		}, nil},
		{"delete and add", func(f *fifo.FIFO[storetest.Job]) error {
			return errors.Join(f.Delete(storetest.NewJob("a", 2)), f.Add(storetest.NewJob("a", 2)))
		}, []string{"a2"}},
		{"replace", func(f *fifo.FIFO[storetest.Job]) error { _, err := f.Replace(nil); return err }, nil},
	} {
		for _, before := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/before=%t", tt.name, before), func(t *testing.T) {
				f := newFIFO(t)
				storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
				l := pop(t, f)
				if before {
					storetest.Must(t, tt.later(f))
				}
				l.Retry(time.Hour)
				if !before {
					storetest.Must(t, tt.later(f))
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
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
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
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)), f.Add(storetest.NewJob("b", 1)), f.Add(storetest.NewJob("c", 1)))
		pop(t, f).Retry(time.Hour)
		b := pop(t, f)
		storetest.Must(t, f.Add(storetest.NewJob("b", 2)))
		f.Close()
		f.Close()
		_, err := f.Replace(nil)
		for _, err := range []error{f.Add(storetest.NewJob("d", 1)), f.Update(storetest.NewJob("a", 2)), f.AddIfNotPresent(storetest.NewJob("a", 2)), err} {
			if !errors.Is(err, fifo.ErrClosed) {
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
			if err := <-ended; !errors.Is(err, fifo.ErrClosed) {
				t.Errorf("at the end: %v", err)
			}
		}
		if s := f.Stats(); s.Popped != 6 || s.Queued != 0 || time.Since(start) != 0 {
			t.Errorf("stats %+v after %v", s, time.Since(start))
		}
		storetest.Must(t, f.Delete(storetest.NewJob("a", 0)))
	})
}

// TestFIFOLastDoneEndsPops ends all waiting Pops with the last Done.
func TestFIFOLastDoneEndsPops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFIFO(t)
		storetest.Must(t, f.Add(storetest.NewJob("a", 1)))
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
			if err := <-ended; !errors.Is(err, fifo.ErrClosed) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

func TestFIFOHasSynced(t *testing.T) {
	f := newFIFO(t)
	storetest.Must(t, f.Add(storetest.NewJob("z", 1)))
	pop(t, f).Done()
	if f.HasSynced() {
		t.Error("synced without a pass")
	}
	_, err := f.Replace([]storetest.Job{storetest.NewJob("a", 1), storetest.NewJob("b", 1), storetest.NewJob("c", 1)})
	storetest.Must(t, err, f.Add(storetest.NewJob("a", 2)), f.Add(storetest.NewJob("later", 1)), f.Delete(storetest.NewJob("b", 1)))
	pop(t, f)
	if f.HasSynced() {
		t.Error("synced before c was handed out")
	}
	pop(t, f).Retry(0)
	if !f.HasSynced() {
		t.Error("not synced")
	}
	_, err = f.Replace([]storetest.Job{storetest.NewJob("a", 3)})
	storetest.Must(t, err)
	if !f.HasSynced() {
		t.Error("no longer synced")
	}
	empty := newFIFO(t)
	_, err = empty.Replace(nil)
	if storetest.Must(t, err); !empty.HasSynced() {
		t.Error("not synced after an empty Replace")
	}
}
