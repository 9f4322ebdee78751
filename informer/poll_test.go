// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// script makes replies of lines as they stand in testdata/trace.
func script(text string) *informertest.ScriptedServer {
	s := &informertest.ScriptedServer{Log: func(string, ...any) {}, Marker: true}
	for line := range strings.Lines(text) {
		s.Read(line)
	}
	return s
}

// follow runs a Reflector of server into a store until the end of the bubble.
// Delays have no jitter.
func follow(t *testing.T, server *informertest.ScriptedServer, change ...func(*informer.Config[informertest.Object])) (*informer.Reflector[informertest.Object], *store.Store[informertest.Object]) {
	t.Helper()
	return followSource(t, source.FromListerWatcher[informertest.Object](server, nil), change...)
}

// followSource is follow for any source.
func followSource[T any](t *testing.T, from informer.Source[T], change ...func(*informer.Config[T])) (*informer.Reflector[T], *store.Store[T]) {
	t.Helper()
	s, err := store.New(store.Config[T]{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := informer.Config[T]{Name: "pods", Source: from, Sink: s, Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}}}
	for _, f := range change {
		f(&cfg)
	}
	r, err := informer.NewReflector(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, r.Run)
	return r, s
}

// run runs it until the test ends, and waits for it.
func run(t *testing.T, it func(context.Context) error) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = it(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// TestPollInfo follows what Info says: polling is no failure, a poll that fails is
// one that passes, and the end of Run is the end of polling.
func TestPollInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen *informer.Polling // at WatchOpened
		r, _ := follow(t, script(`
list rv=100 a@1
watch error 403
watch error 403
watch error 403
list error 500
watch error 403
list rv=110 a@1
watch
`), func(c *informer.Config[informertest.Object]) {
			c.Observer = informer.ObserverFunc(func(info informer.ReflectorInfo, o informer.ReflectorEvent) {
				if _, ok := o.(informer.WatchOpened); ok {
					seen = info.Polling
				}
			})
		})
		check := func(after time.Duration, state informer.State, cause informer.Cause, polling bool) {
			t.Helper()
			time.Sleep(after)
			info := r.Info()
			if info.State != state || info.Cause != cause || (info.Err != nil) != (cause != "") || (info.Polling != nil) != polling {
				t.Errorf("%+v", info)
			}
		}
		check(time.Second, informer.StateBackingOff, informer.CauseForbidden, false)
		check(5*time.Second, informer.StatePolling, "", true) // 6 s
		if p := r.Info().Polling; p.Every != 30*time.Second || p.Cause != informer.CauseForbidden || !strings.Contains(p.Err.Error(), "watch pods") {
			t.Errorf("%+v", p)
		}
		check(24500*time.Millisecond, informer.StateBackingOff, informer.CauseServer, true) // 30.5 s
		check(time.Second, informer.StatePolling, "", true)
		check(30*time.Second, informer.StateWatching, "", false)
		if seen == nil {
			t.Error("WatchOpened does not show that there was polling")
		}
	})
}

// TestPollEndsWithRun: what has ended does not poll.
func TestPollEndsWithRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		server := script("list rv=100 a@1\nwatch error 405\n")
		r, err := informer.NewReflector(informer.Config[informertest.Object]{
			Source: source.FromListerWatcher[informertest.Object](server, nil), Sink: informertest.NewChanSink[informertest.Object]()})
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Run(ctx)
		if info := r.Info(); info.Polling != nil || info.State != informer.StateIdle {
			t.Errorf("%+v", info)
		}
	})
}

// TestRefusalIsContact: a server that refuses has been heard of.
func TestRefusalIsContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := follow(t, script("watch error 405\nlist hang\n"), func(c *informer.Config[informertest.Object]) { c.ResumeFrom = "90" })
		synctest.Wait()
		if info := r.Info(); !info.Contact.Equal(time.Now()) {
			t.Errorf("%+v", info)
		}
	})
}

// always answers lists and refuses watches, for that many minutes at least.
func always(minutes int) *informertest.ScriptedServer {
	return script("list rv=100 a@1\nwatch error 405\n" + strings.Repeat("watch error 405\nlist rv=100 a@1\n", 2*minutes))
}

// TestPollRequests: with the default interval polling costs four requests a minute
// at most, and up to a tenth less, since jitter spreads them.
func TestPollRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := always(100)
		requests := 0
		server.Log = func(format string, _ ...any) {
			if strings.HasPrefix(format, "> ") {
				requests++
			}
		}
		var begun []time.Time
		_, s := follow(t, server, func(c *informer.Config[informertest.Object]) {
			c.Backoff.Jitter = 0 // the default
			c.Observer = informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				if _, ok := o.(informer.ListStarted); ok {
					begun = append(begun, time.Now())
				}
			})
		})
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if requests > 30*4+2 || requests < 30*4*9/10 {
			t.Errorf("%d requests in half an hour", requests)
		}
		apart := map[time.Duration]bool{}
		for i, at := range begun[1:] {
			d := at.Sub(begun[i])
			if apart[d] = true; d < 30*time.Second || d > 33*time.Second {
				t.Errorf("polls %v apart", d)
			}
		}
		if len(apart) < 10 {
			t.Errorf("no jitter: polls %v apart", apart)
		}
		if stats := s.Stats(); stats.Objects != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

// TestPollIsToldOnce: that it polls is one warning, and that it no longer does is
// information; the ErrorObserver is not told of each watch that is refused.
func TestPollIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		var told []informer.Cause
		text := "list rv=100 a@1\nwatch error 403\nwatch error 403\n" +
			strings.Repeat("watch error 403\nlist rv=110 a@1\n", 10) +
			"watch error 405\nlist rv=120 a@1\nwatch error 405\nlist error 500\nwatch error 405\nlist rv=130 a@1\nwatch\n"
		follow(t, script(text), func(c *informer.Config[informertest.Object]) {
			c.Observer = informer.Observers(informer.LogObserver(log),
				informer.ErrorObserver(func(_ informer.ReflectorInfo, err error) { told = append(told, informer.CauseOf(err)) }))
		})
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		if got, want := fmt.Sprint(told), "[forbidden forbidden not supported server]"; got != want {
			t.Errorf("told of %v, want %v", got, want)
		}
		var lines []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(line, "level=")
			lines = append(lines, line)
		}
		for i, want := range []string{
			`INFO msg="List is complete" resource=pods reason=first`,
			`WARN msg="Cannot watch, will try again"`,
			`WARN msg="Cannot watch, polling" resource=pods cause=forbidden every=30s error="watch pods: pods is forbidden: no role" advice="grant the client's identity the verb watch"`,
			`WARN msg="Cannot watch, polling" resource=pods cause="not supported"`,
			`WARN msg="Cannot list, will try again"`,
			`INFO msg="Synced again" resource=pods failures=1 after=800ms cause=server`,
			`INFO msg="Watching, no longer polling" resource=pods version=130 after="not supported"`,
		} {
			if i >= len(lines) || !strings.HasPrefix(lines[i], want) {
				t.Fatalf("line %d does not begin with %s:\n%s", i+1, want, out.String())
			}
		}
		if len(lines) != 7 {
			t.Errorf("%d lines:\n%s", len(lines), out.String())
		}
	})
}

// TestPollingString: what it means and what to do about it, in a line.
func TestPollingString(t *testing.T) {
	for kind, want := range map[string]string{
		"403": "pods is forbidden: no role; polling every 30s; grant the client's identity the verb watch",
		"404": `pods "" not found; polling every 30s; check the proxies before the server`,
		"405": `watch is not supported on resources of kind "pods"; polling every 30s; the server does not offer a watch`,
	} {
		err := informertest.ParseError([]string{kind})
		got := informer.Polling{Every: 30 * time.Second, Cause: informer.CauseOf(err), Err: err}.String()
		if !strings.HasPrefix(got, want) {
			t.Errorf("got %s", got)
		}
	}
}

// TestPollHoldsToTheBudget: a poll waits for its turn like any list.
func TestPollHoldsToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, err := informer.NewListBudget(1, 0)
		if err != nil {
			t.Fatal(err)
		}
		with := func(c *informer.Config[informertest.Object]) { c.ListBudget = budget }
		r, _ := follow(t, always(10), with)
		time.Sleep(20 * time.Second)
		follow(t, script("list hang\n"), with) // has the slot for a minute
		time.Sleep(20 * time.Second)
		if used, waiting := budget.InUse(); used != 1 || waiting != 1 || r.Info().State != informer.StateListing {
			t.Errorf("%d slots used, %d waiting, %+v", used, waiting, r.Info())
		}
		time.Sleep(time.Minute)
		if info := r.Info(); info.Passes < 2 {
			t.Errorf("%+v", info)
		}
	})
}

// TestPollHasItsOwnJitter: a poll does not wait for the jitter of the budget as well.
func TestPollHasItsOwnJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget, err := informer.NewListBudget(1, 10*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := follow(t, always(10), func(c *informer.Config[informertest.Object]) { c.ListBudget = budget })
		time.Sleep(34 * time.Second) // the interval and a tenth, and the first pass
		if info := r.Info(); info.Passes != 2 {
			t.Errorf("%+v", info)
		}
	})
}
