// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fifo

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/store"
)

func nameKey(name string) (store.Key, error) { return store.Key{Name: name}, nil }

func newNames(t *testing.T) *FIFO[string] {
	f, err := New(nameKey)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func add(t *testing.T, f *FIFO[string], names ...string) {
	t.Helper()
	for _, name := range names {
		if err := f.Add(name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFIFOMemory adds and removes objects in all ways. Nothing must be left in the
// queue's fields.
func TestFIFOMemory(t *testing.T) {
	f := newNames(t)
	pop := func() Lease[string] {
		l, err := f.Pop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for i := range 20_000 {
		for _, name := range []string{"same", fmt.Sprint(i)} {
			add(t, f, name)
			l := pop()
			add(t, f, name, name)
			_ = f.Delete(name)
			add(t, f, name)
			l.Done()
			pop().Retry(time.Hour)
			_ = f.Delete(name)
			add(t, f, name)
			pop().Done()
		}
	}
	if len(f.byKey) != 0 || f.ready != (line[string]{}) || f.kept != (line[string]{}) || f.delayed != nil || f.most > manyKeys {
		t.Errorf("left over: %d keys, at most %d, lines %v and %v, %d delayed", len(f.byKey), f.most, f.ready, f.kept, len(f.delayed))
	}
	if len(f.idle) != 0 || len(f.waiting) != 0 {
		t.Errorf("%d and %d channels without a Pop that waited", len(f.idle), len(f.waiting))
	}
}

// TestFIFOMapShrinks: after many objects, the large map is freed.
func TestFIFOMapShrinks(t *testing.T) {
	f := newNames(t)
	for i := range 100 * manyKeys {
		add(t, f, fmt.Sprint(i))
	}
	large := reflect.ValueOf(f.byKey).Pointer()
	for f.Len() > 10 {
		l, err := f.Pop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Done()
	}
	if len(f.byKey) != 10 || reflect.ValueOf(f.byKey).Pointer() == large || len(f.spare) > spareItems {
		t.Errorf("%d keys, at most %d; %d items to spare", len(f.byKey), f.most, len(f.spare))
	}
	for range 10 {
		if l, err := f.Pop(t.Context()); err != nil || f.byKey[l.Key()] != l.item {
			t.Errorf("%v is lost: %v", l, err)
		}
	}
}

func TestFIFOAllocatesNothing(t *testing.T) {
	f := newNames(t)
	allocs := testing.AllocsPerRun(100, func() {
		add(t, f, "a", "a")
		l, err := f.Pop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		add(t, f, "a")
		l.Retry(0)
		_ = f.Delete("a")
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// TestFIFOWaitingPopsAreForgotten has Pops wait and end, some of them at once.
func TestFIFOWaitingPopsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNames(t)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			for range 2 {
				go func() { _, _ = f.Pop(ctx) }()
			}
			synctest.Wait()
			cancel()
			synctest.Wait()
		}
		if len(f.waiting) != 0 || len(f.idle) != 2 {
			t.Errorf("%d wait, %d channels are kept", len(f.waiting), len(f.idle))
		}
	})
}

// TestFIFOWakesOne counts the woken Pops before they run.
func TestFIFOWakesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNames(t)
		for range 5 {
			go func() { _, _ = f.Pop(t.Context()) }()
		}
		synctest.Wait()
		f.mu.Lock()
		f.put(store.Meta{Key: store.Key{Name: "a"}}, "a")
		f.put(store.Meta{Key: store.Key{Name: "a"}}, "a")
		f.put(store.Meta{Key: store.Key{Name: "b"}}, "b")
		if len(f.waiting) != 3 {
			t.Errorf("%d still wait for 2 objects", len(f.waiting))
		}
		f.mu.Unlock()
		synctest.Wait()
		if s := f.Stats(); s.Leased != 2 || s.Queued != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// TestFIFOWakingIsPassedOn wakes a Pop whose ctx has ended and that has not run since.
// Another Pop must get the object.
func TestFIFOWakingIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNames(t)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = f.Pop(ctx) }()
		synctest.Wait()
		go func() { _, _ = f.Pop(t.Context()) }()
		synctest.Wait()
		f.mu.Lock()
		cancel() // decides what the select of the first does
		f.put(store.Meta{Key: store.Key{Name: "a"}}, "a")
		f.mu.Unlock()
		synctest.Wait()
		if s := f.Stats(); s.Leased != 1 {
			t.Errorf("nobody took the object: %+v", s)
		}
		add(t, f, "b") // for the other Pop, if it still waits
	})
}

// TestFIFODeleteWhileDraining removes the object that woke one of two Pops. Both must end.
func TestFIFODeleteWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newNames(t)
		add(t, f, "a")
		l, err := f.Pop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		add(t, f, "a")
		f.Close()
		ended := make(chan error)
		for range 2 {
			go func() {
				_, err := f.Pop(t.Context())
				ended <- err
			}()
		}
		synctest.Wait()
		f.mu.Lock()
		f.end(l.item)
		f.drop(l.Key())
		f.mu.Unlock()
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

// TestFIFOTimer checks that there is one timer, and none without a delay.
func TestFIFOTimer(t *testing.T) {
	f := newNames(t)
	add(t, f, "a", "b", "c")
	for _, after := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour} {
		l, err := f.Pop(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Retry(after)
	}
	timer := f.timer
	_ = f.Delete("b")
	if f.timer != timer || f.delayed[0].obj != "c" {
		t.Error("the timer is not for what is due first")
	}
	f.Close()
	if timer.Stop() {
		t.Error("the timer runs after Close")
	}
}
