// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/store"
)

// witness is what is said of a Reflector.
type witness struct {
	out         bytes.Buffer
	failures    []string // by the ErrorObserver
	recovered   []informer.Recovered
	unavailable []string
}

// watches has the Reflector stream its lists, if stream is set, and w observe it.
func (w *witness) watches(stream bool) func(*informer.Config[informertest.Object]) {
	return func(c *informer.Config[informertest.Object]) {
		if !stream {
			c.Lists = informer.ListPaged
		}
		c.Observer = informer.Observers(
			informer.LogObserver(slog.New(slog.NewTextHandler(&w.out, &slog.HandlerOptions{Level: slog.LevelInfo}))),
			informer.ErrorObserver(func(_ informer.ReflectorInfo, err error) { w.failures = append(w.failures, err.Error()) }),
			informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				switch o := o.(type) {
				case informer.Recovered:
					w.recovered = append(w.recovered, o)
				case informer.WatchListUnavailable:
					w.unavailable = append(w.unavailable, o.Err.Error())
				}
			}))
	}
}

// lines are the lines of the log, without the time, that have a part.
func (w *witness) lines(part string) (lines []string) {
	for line := range strings.Lines(w.out.String()) {
		if _, line, _ = strings.Cut(line, "level="); strings.Contains(line, part) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// streams is a script for a server that may be asked for initial events.
func streams(text string) *informertest.ScriptedServer {
	s := script(text)
	s.Marker = false
	return s
}

// While pages are read without trouble, a streamed list that was refused is no failure:
// not in Info, not in the log, and not for an ErrorObserver.
func TestRefusedStreamIsNoFailure(t *testing.T) {
	for _, refusal := range []string{"400", "403", "405", "422"} {
		synctest.Test(t, func(t *testing.T) {
			var w witness
			r, _ := follow(t, streams("watch error "+refusal+"\nlist rv=100 continue=p2 a@1\nlist hang\n"), w.watches(true))
			time.Sleep(time.Minute)
			synctest.Wait()
			if info := r.Info(); info.State != informer.StateListing || info.Err != nil || info.Cause != "" {
				t.Errorf("%s: %+v", refusal, info)
			}
			if len(w.lines("WARN")) != 0 || len(w.failures) != 0 {
				t.Errorf("%s: %q, %q", refusal, w.lines("WARN"), w.failures)
			}
		})
	}
}

// Where neither is allowed, the failure is that of the list.
func TestBothAreForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w witness
		r, _ := follow(t, streams("watch error 403\nlist error 403\n"), w.watches(true))
		time.Sleep(time.Second)
		synctest.Wait()
		if err := r.Info().Err; err == nil || !strings.HasPrefix(err.Error(), "list pods: ") {
			t.Errorf("got %v", err)
		}
		if lines := w.lines(""); len(lines) != 1 || !strings.HasPrefix(lines[0], `WARN msg="Cannot list, will try again" resource=pods cause=forbidden`) {
			t.Errorf("got %q", lines)
		}
	})
}

// That a server does not stream is said only if it answered so.
func TestWatchListUnavailable(t *testing.T) {
	for text, said := range map[string]bool{
		"watch error 400\nlist hang\n":                            true,
		"watch error 405\nlist hang\n":                            true,
		"watch error 422\nlist hang\n":                            true,
		"watch hang\nlist hang\n":                                 true,
		"watch\n  after 1s\n  close\nwatch\n  close\nlist hang\n": true,
		"watch\n  +a@1\n  bookmark 2\n  after 9s\n  bookmark 3\n" +
			"  after 9s\n  bookmark 4\n  after 9s\n  bookmark 5\n" +
			"  after 9s\n  bookmark 6\nlist hang\n": true,
		"watch error 403\nlist hang\n":                      false,
		"watch error 500\nwatch error 500\nlist hang\n":     false,
		"watch error reset\nwatch error reset\nlist hang\n": false,
		strings.Repeat("watch error refused\n", 20):         false,
		"watch\n  error 403\nlist hang\n":                   false,
	} {
		synctest.Test(t, func(t *testing.T) {
			var w witness
			r, _ := follow(t, streams(text), w.watches(true))
			time.Sleep(40 * time.Second)
			synctest.Wait()
			if (len(w.unavailable) == 1) != said || (len(w.lines("does not support streamed lists")) == 1) != said {
				t.Errorf("%q: %q %q", text, w.unavailable, w.out.String())
			}
			if info := r.Info(); info.State != informer.StateListing && info.Cause != informer.CauseRefused {
				t.Errorf("%q: %+v", text, info)
			}
		})
	}
}

// A pass overcomes the failure of the one before as soon as it gets further, and a
// failure of the watch when it was committed.
func TestPassOvercomesAFailure(t *testing.T) {
	for text, want := range map[string]informer.Cause{
		"list error 500\nlist rv=100 continue=p2 a@1\nlist hang\n":                                                            "",
		"list rv=100 continue=p2 a@1\nlist rv=100 c@1\nlist rv=100 continue=p2 a@1\nlist hang\n":                              informer.CauseSink,
		"list rv=100 continue=p2 a@1\nlist rv=100 c@1\nlist rv=100 continue=p2 a@1\nlist rv=100 continue=p3 c@1\nlist hang\n": "",
		"list rv=100 a@1\nwatch error 405\nlist rv=100 continue=p2 a@1\nlist hang\n":                                          informer.CauseNotSupported,
		// With streamed lists between.
		"watch\n  end 100\n  error 405\n" + strings.Repeat("watch error 400\n", 2) + "list rv=100 continue=p2 a@1\nlist hang\n": informer.CauseNotSupported,
	} {
		synctest.Test(t, func(t *testing.T) {
			var w witness
			server := script(text)
			server.Marker = !strings.Contains(text, "400")
			r, _ := follow(t, server, w.watches(!server.Marker), func(c *informer.Config[informertest.Object]) {
				c.Sink = &refusingSink{Sink: c.Sink, refuse: map[string]error{"c": errors.New("no")}}
				c.PollInterval = -1
				c.MaxInternalErrorRetryDuration = -1
			})
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if info := r.Info(); info.State != informer.StateListing || info.Cause != want || (info.Err != nil) != (want != "") {
				t.Errorf("%q: %+v", text, info)
			}
			if len(w.recovered) != 0 {
				t.Errorf("%q: recovered before the pass has ended: %v", text, w.recovered)
			}
		})
	}
}

// refusingSink refuses each of these objects once.
type refusingSink struct {
	store.Sink[informertest.Object]
	refuse map[string]error
}

func (s *refusingSink) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	if err := s.refuse[m.Key.Name]; err != nil {
		delete(s.refuse, m.Key.Name)
		return err
	}
	return s.Sink.Apply(ctx, m, obj)
}

// A recovery is observed once, with the failures before it, when what failed has succeeded:
// for a list when it was read, for a watch when it is open, for an object when the sink
// took it, and for a watch that was closed at once when it brings something.
func TestRecovered(t *testing.T) {
	for text, want := range map[string][]informer.Recovered{
		"list error 500\nlist error refused\nlist rv=100 a@1\nwatch\n":                          {{2, 2400 * time.Millisecond, informer.CauseRefused}},
		"list rv=100 a@1\nwatch error 500\nwatch error 500\nwatch\n":                            {{2, 2400 * time.Millisecond, informer.CauseServer}},
		"list rv=100 a@1\nwatch\n  after 1s\n  error 500\nwatch\n  +b@101\n":                    {{1, 800 * time.Millisecond, informer.CauseServer}},
		"list rv=100 a@1\nwatch\n  +c@101\nwatch\n  after 10s\n  +c@101\n":                      {{1, 10800 * time.Millisecond, informer.CauseSink}},
		"list rv=100 a@1\nwatch\n  +c@101\nwatch\n":                                             nil,
		"list rv=100 a@1\nwatch\n  close\nwatch\n  close\nwatch\n  close\nwatch\n":              nil,
		"list rv=100 a@1\nwatch\n  close\nwatch\n  close\nwatch\n  after 20s\n  bookmark 110\n": {{1, 20800 * time.Millisecond, informer.CauseClosed}},
		"list rv=100 a@1\nwatch\n  close\nwatch\n  close\nwatch\n  after 20s\n  close\nwatch\n": {{1, 20800 * time.Millisecond, informer.CauseClosed}},
		"list rv=100 a@1\nwatch\n": nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			var w witness
			r, _ := follow(t, script(text), w.watches(false), func(c *informer.Config[informertest.Object]) {
				c.Sink = &refusingSink{Sink: c.Sink, refuse: map[string]error{"c": errors.New("no")}}
			})
			time.Sleep(time.Minute)
			synctest.Wait()
			if !slices.Equal(w.recovered, want) {
				t.Errorf("%q: got %v, want %v", text, w.recovered, want)
			}
			if info := r.Info(); want != nil && info.Err != nil {
				t.Errorf("%q: %+v", text, info)
			}
			said := w.lines("Synced again")
			if len(said) != len(want) {
				t.Errorf("%q: %q", text, said)
			}
			for i, r := range want {
				if !strings.HasPrefix(said[i], fmt.Sprintf("INFO msg=\"Synced again\" resource=pods failures=%d after=%v ", r.Failures, r.After)) {
					t.Errorf("%q: %q", text, said)
				}
			}
		})
	}
}

// A failure that is new is logged at once, whatever failed before; one that repeats is
// logged now and then, with how often it was left out.
func TestNewFailuresAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w witness
		down := strings.Repeat("list error 500\n", 5)
		follow(t, script(down+"list error 429\n"+down+"list error 429\nlist rv=100 a@1\nwatch\n"), w.watches(false),
			func(c *informer.Config[informertest.Object]) { c.Backoff.Max = time.Second })
		time.Sleep(time.Minute)
		synctest.Wait()
		var got []string
		for _, line := range w.lines("WARN") {
			_, cause, _ := strings.Cut(line, "cause=")
			cause, failures, _ := strings.Cut(cause, " failures=")
			failures, _, _ = strings.Cut(failures, " ")
			_, omitted, _ := strings.Cut(line, "omitted=")
			got = append(got, fmt.Sprint(cause, " ", failures, " ", omitted))
		}
		want := []string{"server 1 ", "server 2 ", "server 4 1", "throttled 6 ", "server 9 3", "throttled 12 "}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q\n%s", got, want, w.out.String())
		}
	})
}

// Texts that differ by numbers are the same failure; others are others.
func TestFailuresDifferByText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w witness
		n := 0
		follow(t, script("list rv=100 a@1\nwatch\n"+strings.Repeat("  +c@101\nwatch\n", 40)), w.watches(false), func(c *informer.Config[informertest.Object]) {
			c.Backoff.Max = time.Second
			c.Sink = applies{c.Sink, func(store.Meta) error {
				switch n++; {
				case n == 1:
					return nil
				case n == 20:
					return errors.New("etcd is down")
				default:
					return fmt.Errorf("read from port %d", 40000+n)
				}
			}}
		})
		time.Sleep(30 * time.Second)
		synctest.Wait()
		lines := w.lines("WARN")
		if len(lines) != 6 || len(w.lines("etcd is down")) != 1 {
			t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
	})
}

// applies asks a function first.
type applies struct {
	store.Sink[informertest.Object]
	apply func(store.Meta) error
}

func (s applies) Apply(ctx context.Context, m store.Meta, obj informertest.Object) error {
	if err := s.apply(m); err != nil {
		return err
	}
	return s.Sink.Apply(ctx, m, obj)
}

// What a consumer's own server answers is the consumer's failure, and neither the API
// server's nor a reason to read in another way.
func TestConsumerKeepsItsSide(t *testing.T) {
	for _, failure := range []error{
		apierrors.NewServiceUnavailable("the consumer is down"), informertest.ParseError([]string{"400"}),
		informertest.ParseError([]string{"410"}), informertest.ParseError([]string{"refused"}), context.DeadlineExceeded,
	} {
		for _, text := range []string{
			"list c@1\nlist hang\n",
			"list rv=100 a@1\nwatch\n  +c@101\nwatch\n",
			"list rv=100 a@1\nwatch\n  error 410\nlist rv=110 c@1\nlist hang\n", // asks for a version
		} {
			synctest.Test(t, func(t *testing.T) {
				var w witness
				r, _ := follow(t, script(text), w.watches(false), func(c *informer.Config[informertest.Object]) {
					c.Sink = &refusingSink{Sink: c.Sink, refuse: map[string]error{"c": failure}}
				})
				time.Sleep(100 * time.Millisecond)
				synctest.Wait()
				info := r.Info()
				if info.State != informer.StateBackingOff || info.Cause != informer.CauseSink ||
					!strings.HasPrefix(info.Err.Error(), "sink of pods: Apply c@1") || !errors.Is(info.Err, failure) {
					t.Errorf("%+v", info)
				}
				if lines := w.lines("WARN"); len(lines) != 1 || !strings.HasPrefix(lines[0], `WARN msg="The sink failed, will try again" resource=pods cause=sink`) {
					t.Errorf("%q", lines)
				}
			})
		}
	}
}

// A kind that is not installed is asked for within ten seconds, however long that has
// been so; other refusals less and less often.
func TestNotInstalledIsAskedForOften(t *testing.T) {
	var b informer.Backoff
	if err := b.Complete(); err != nil {
		t.Fatal(err)
	}
	longest := map[informer.Cause]time.Duration{}
	for failure := 1; failure < 1000; failure++ {
		for _, cause := range []informer.Cause{informer.CauseNotInstalled, informer.CauseForbidden} {
			d := b.Delay(failure, cause, nil)
			longest[cause] = max(longest[cause], d)
			if d < b.Denied {
				t.Errorf("failure %d, %s: after %v", failure, cause, d)
			}
		}
	}
	if longest[informer.CauseNotInstalled] > 10*time.Second || longest[informer.CauseForbidden] < 20*time.Second {
		t.Errorf("at most %v", longest)
	}
}
