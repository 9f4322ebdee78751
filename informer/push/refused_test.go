// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// Of a batch that is refused in part, the rest is accepted, and does not come again. The
// refused object comes again after its backoff, merged with what is newer. Other changes
// do not wait for it. The version of a batch is one up to which the consumer has all.
func TestRefusedObjectComesAgain(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
  +b#v@102
  after 300ms
  +c#w@103
  ~a#u@104
  after 10s
  ~a#u@105
consumer name a#u@101 batch
consumer name a#u@104 batch ~a#u@104
stop 30s`)
	p.want(t, "begin 1 first", "page a#u@1", "end 100",
		"batch ~a#u@101 +b#v@102 to 102", "batch +c#w@103 to 100", "batch ~a#u@104 to 104", "batch ~a#u@104 to 104", "batch ~a#u@105 to 105")
	if p.stats.Refused != 2 || p.stats.Failing != 0 || p.stats.Failures != 0 || p.stats.Batches != 4 || p.stats.Changes != 4 || p.stats.Accepted != 3 {
		t.Errorf("%+v", p.stats)
	}
	for i, want := range []time.Duration{500 * time.Millisecond, time.Second} {
		var failed *informer.HandlerError
		if !errors.As(p.errors[i], &failed) || failed.Meta.Key.Name != "a" || failed.Failures != i+1 || failed.RetryIn != want || failed.Err.Error() != "too large" {
			t.Errorf("error %d is %+v", i, p.errors[i])
		}
	}
}

// An object that is refused MaxTries times is a dead letter. A newer state of it is tried
// as often again. Its deletion is delivered, since the consumer may have it.
func TestDeadLetter(t *testing.T) {
	refusals := func(state string, n int) string { return strings.Repeat("consumer name "+state+" batch\n", n) }
	script := `
list rv=100 a#u@1
watch
  after 1s
  +b#v@101
  after 30s
  ~b#v@102
  after 30s
  -b#v@103
` + refusals("b#v@101", 3) + refusals("b#v@102", 3) + "stop 90s"
	p := playBatches(t, script, func(cfg *push.BatcherConfig[informertest.Object]) { cfg.Merger.MaxTries = 3 })
	p.want(t, "begin 1 first", "page a#u@1", "end 100",
		"batch +b#v@101 to 101", "batch +b#v@101 to 101", "batch +b#v@101 to 101",
		"batch +b#v@102 to 102", "batch +b#v@102 to 102", "batch +b#v@102 to 102", "batch -b#v@101 to 103")
	if p.stats.Dead != 0 || p.stats.Pending != 0 || p.stats.Refused != 6 {
		t.Errorf("%+v", p.stats)
	}
	var dead *push.DeadLetterError
	if !errors.As(p.errors[2], &dead) || dead.Name != "pods" || dead.Meta.Version != "101" || dead.Tries != 3 || dead.Err.Error() != "too large" {
		t.Errorf("the third error is %+v", p.errors[2])
	}
	if want := "pods: b@101 was refused 3 times, and is tried again when it changes or in the next snapshot: too large"; dead.Error() != want {
		t.Errorf("%q, want %q", dead, want)
	}

	before, _, _ := strings.Cut(script, "  ~b")
	for tries, want := range map[int][2]int{3: {1, 3}, 0: {1, 20}, -1: {0, 40}} {
		p := playBatches(t, before+refusals("b#v@101", 40)+"stop 1m", func(cfg *push.BatcherConfig[informertest.Object]) {
			cfg.Merger.MaxTries, cfg.Merger.Backoff.Max = tries, time.Second
		})
		if p.stats.Dead != want[0] || p.stats.Refused != uint64(want[1]) {
			t.Errorf("MaxTries %d: %+v", tries, p.stats)
		}
	}
}

// A snapshot in which objects are refused by name is completed. The consumer may have
// older states of them, and the end of the snapshot names them. They come again.
func TestSnapshotIsRefusedInPart(t *testing.T) {
	p := playBatches(t, `
page 2
list rv=100 continue=p2 a#u@1 b#v@2
list rv=100 c#w@3
watch
  after 1s
  error 410
list rv=110 continue=p2 a#u@101 b#v@2
list rv=110 c#x@103
watch
  after 1m
  ~a#u@111
consumer name b#v@2 page a#u@1
consumer name a#u@101 page a#u@101
consumer name c#x@103 page c#x@103
stop 5m`)
	p.want(t, "begin 1 first", "page a#u@1 b#v@2", "page c#w@3", "end 100 -b", "batch +b#v@2 to 100",
		"begin 2 expired", "page a#u@101 b#v@2", "page c#x@103", "end 110 -a -c", "batch +a#u@101 c#w@3=c#x@103 to 110", "batch ~a#u@111 to 111")
	if p.stats.Snapshots != 2 || p.stats.Refused != 3 || p.stats.Accepted != 3 {
		t.Errorf("%+v", p.stats)
	}
}

// An object that is refused at the end of a snapshot is a dead letter at once: it is not
// known any more. The next snapshot has it, and so does the next change.
func TestEndOfSnapshotIsRefusedInPart(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1 b#v@2
watch
  after 10s
  ~a#u@101
  after 10s
  -b#v@102
consumer name a,b end
stop 1m`)
	p.want(t, "begin 1 first", "page a#u@1 b#v@2", "end 100", "batch +a#u@101 to 101", "batch -b#v@2 to 102")
	if len(p.errors) != 2 || !errors.As(p.errors[0], new(*push.DeadLetterError)) || p.stats.Snapshots != 1 || p.stats.Dead != 0 {
		t.Errorf("%v, %+v", p.errors, p.stats)
	}
}

// An object with which each call fails does not stop the others: a snapshot leaves it out,
// and it is delivered in batches of its own. While it is
// a dead letter it does not hold back the version.
func TestPoison(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1 b#v@2 c#w@3
list rv=100 a#u@1 b#v@2 c#w@3
watch
  after 10s
  ~a#u@101
  after 30s
  ~a#u@102
  after 10s
  error 410
list rv=110 a#u@102 b#v@2 c#w@3
watch
  after 10s
  ~b#v@111
consumer poison b#v@2
stop 90s`, func(cfg *push.BatcherConfig[informertest.Object]) { cfg.Merger.Backoff.Max = time.Second })
	p.want(t, "begin 1 first", "page a#u@1", "page c#w@3", "abort 1", "begin 2 first", "page a#u@1 c#w@3", "end 100 -b", "batch ~a#u@101 to 100", "batch ~a#u@102 to 102",
		"begin 3 expired", "page a#u@102 c#w@3", "end 110 -b", "batch +b#v@111 to 111")
	if p.lists() != 3 || p.stats.Dead != 0 || p.stats.Accepted != 3 || p.stats.Refused != 21 {
		t.Errorf("%d lists, %+v", p.lists(), p.stats)
	}
}

// A RefusedError that does not name keys of the call refuses all of it.
func TestRefusedErrorIsChecked(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  ~a#u@101
consumer name b batch
stop 10s`)
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "batch ~a#u@101 to 101", "batch ~a#u@101 to 101")
	if p.stats.Failures != 1 || p.stats.Refused != 0 || !strings.Contains(p.errors[0].Error(), "RefusedError names b, which is not in the call: b was refused: too large") {
		t.Errorf("%v, %+v", p.errors, p.stats)
	}
}

// poisoned is a merger of objects named by letters. Its consumer refuses each batch that
// has a letter of poison.
type poisoned struct {
	*push.EventMerger[informertest.Object]
	stop func() error

	mu     sync.Mutex
	poison string
	calls  []string
}

func newPoisoned(t *testing.T, poison string, cfg push.MergerConfig[informertest.Object]) *poisoned {
	t.Helper()
	p := &poisoned{poison: poison}
	if cfg.ErrorHandler == nil {
		cfg.ErrorHandler = func(error) {}
	}
	cfg.Backoff.Jitter = -1
	var err error
	if p.EventMerger, err = push.NewEventMerger("m", cfg, p.onBatch); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	p.stop = func() error { cancel(); return <-ended }
	return p
}

func (p *poisoned) onBatch(_ context.Context, b push.Batch[informertest.Object]) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	call := ""
	for _, c := range b.Changes {
		call += c.Key.Name
	}
	if strings.ContainsAny(call, p.poison) {
		p.calls = append(p.calls, "!"+call)
		return errors.New("refused")
	}
	p.calls = append(p.calls, call)
	return nil
}

// cure ends the poison.
func (p *poisoned) cure() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.poison = ""
}

// called returns the calls since it was called last.
func (p *poisoned) called() (calls []string) {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	calls, p.calls = p.calls, nil
	return calls
}

func (p *poisoned) add(t *testing.T, names string) {
	t.Helper()
	for _, name := range names {
		obj := informertest.ParseObject(fmt.Sprintf("%c#u@1", name))
		if err := p.Add(t.Context(), watch.Added, store.MetaOf(obj), obj); err != nil {
			t.Fatal(err)
		}
	}
}

// After MaxFailures, parts of a batch show which objects are refused. What is refused then
// is delivered by itself, and does not delay the others.
func TestBatchIsBisected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoisoned(t, "cd", push.MergerConfig[informertest.Object]{MaxFailures: 2})
		p.add(t, "abcdefgh")
		time.Sleep(time.Second)
		if calls, want := p.called(), []string{"!abcdefgh", "!abcdefgh", "!abcd", "efgh", "ab", "!cd", "!c", "!d"}; !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
		p.add(t, "x")
		time.Sleep(2 * time.Second)
		p.cure()
		time.Sleep(time.Minute)
		calls := p.called()
		slices.Sort(calls)
		if want := []string{"!c", "!c", "!d", "!d", "c", "d", "x"}; !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
		if s := p.Stats(); s.Pending != 0 || s.Accepted != 9 || s.Failing != 0 || s.Failures != 10 {
			t.Errorf("%+v", s)
		}
		if err := p.stop(); errors.As(err, new(*push.UndeliveredError)) {
			t.Error(err)
		}
	})
}

// How many calls it takes to find what is refused has a bound. It is low if the consumer
// accepts nothing, and nothing counts as refused then.
func TestBisectIsBounded(t *testing.T) {
	names := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for n := 2; n <= len(names); n++ {
		for _, poison := range []string{names[:1], names[n-1 : n], names[:n/2], names[n/2 : n], "acegikmoqsuwyACEGIKMOQSUWY", names} {
			synctest.Test(t, func(t *testing.T) {
				refused := 0
				for _, name := range names[:n] {
					if strings.ContainsRune(poison, name) {
						refused++
					}
				}
				p := newPoisoned(t, poison, push.MergerConfig[informertest.Object]{MaxFailures: 1})
				p.add(t, names[:n])
				time.Sleep(300 * time.Millisecond)
				calls, s, most := p.called(), p.Stats(), 1+2*n-2
				if refused == n {
					most = min(most, 1+2*bits.Len(uint(n))+2)
				}
				if len(calls) > most {
					t.Errorf("%d of %d are refused: %d calls, want at most %d: %q", refused, n, len(calls), most, calls)
				}
				if refused == n && s.Refused != 0 || refused < n && (s.Accepted != n-refused || s.Failing != refused) {
					t.Errorf("%d of %d are refused: %q %+v", refused, n, calls, s)
				}
				_ = p.stop()
			})
		}
	}
}

// A merger whose batch is refused as a whole tries what comes next: if that is accepted
// the batch is the cause.
func TestMergerGoesOnAfterABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoisoned(t, "a", push.MergerConfig[informertest.Object]{MaxFailures: 2, MaxItems: 1, Quiet: -1})
		p.add(t, "abc")
		time.Sleep(700 * time.Millisecond)
		if calls, want := p.called(), []string{"!a", "!a", "b", "c"}; !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
		p.cure()
		_ = p.stop()
	})
}

// Flush and the end of Run try refused objects once more. They deliver all others, and
// fail if a refused one is left.
func TestFlushAndStopWithRefusedObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported error
		p := newPoisoned(t, "b", push.MergerConfig[informertest.Object]{MaxFailures: 1, ErrorHandler: func(err error) { reported = err }})
		p.add(t, "abc")
		time.Sleep(300 * time.Millisecond)
		_ = p.called()
		p.add(t, "d")
		if err := p.Flush(t.Context()); err == nil || err.Error() != "refused" {
			t.Errorf("Flush: %v", err)
		}
		p.add(t, "e")
		err := p.stop()
		if calls, want := p.called(), []string{"!b", "d", "!b", "e"}; !slices.Equal(calls, want) {
			t.Errorf("called %q, want %q", calls, want)
		}
		var undelivered *push.UndeliveredError
		if !errors.As(err, &undelivered) || undelivered.Changes != 1 || !errors.As(reported, &undelivered) {
			t.Errorf("Run returned %v, reported %v", err, reported)
		}
	})
}

// An object that was refused, and whose new state cannot be decoded, is still one that the
// consumer may have: its deletion is delivered.
func TestRefusedObjectIsKept(t *testing.T) {
	p := playBatches(t, `
list rv=100 a#u@1
watch
  after 1s
  +x#v@102
  after 1s
  error 410
list rv=120 a#u@1 x#v@107
watch
  after 1s
  -x#v@128
consumer name x#v@102 batch
stop 10s`, func(cfg *push.BatcherConfig[informertest.Object]) {
		cfg.Transform, cfg.Merger.MaxTries = informertest.NoSevens, 1
		cfg.Consumer = keepingConsumer{cfg.Consumer.(*scriptedConsumer)}
	})
	p.want(t, "begin 1 first", "page a#u@1", "end 100", "batch +x#v@102 to 102",
		"begin 2 expired", "keep x#v@107", "page a#u@1", "end 120", "batch -x#v@102 to 128")
}
