// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/store"
)

// batchPlay is what came of a script that was played to a Batcher in virtual time.
// The scripts are those of testdata/trace, with lines for the consumer:
//
//	consumer refuse batch       the next call that begins so fails; resync: with ErrResync
//	consumer slow 5s batch      it takes so long
//	consumer panic batch        it panics
//	consumer name a#u@1 batch   it refuses a#u@1 by name; further ones are separated by commas
//	consumer poison a#u         each page and batch with a state of a#u fails
type batchPlay struct {
	text     string
	requests []string
	calls    []string // of the consumer that it accepted
	errors   []error
	stats    push.BatcherStats
	err      error // of Run
	batcher  *push.Batcher[informertest.Object]
}

func (p *batchPlay) want(t *testing.T, calls ...string) {
	t.Helper()
	if !slices.Equal(p.calls, calls) {
		t.Errorf("accepted\n%q\nwant\n%q", p.calls, calls)
	}
}

// lists returns how many passes were begun.
func (p *batchPlay) lists() (n int) {
	for _, request := range p.requests {
		if strings.HasPrefix(request, "list") && !strings.Contains(request, "continue") {
			n++
		}
	}
	return n
}

type scriptedConsumer struct {
	play  *batchPlay
	start time.Time

	mu    sync.Mutex
	rules [][]string
	busy  bool
}

func playBatches(t *testing.T, script string, adapt ...func(*push.BatcherConfig[informertest.Object])) *batchPlay {
	t.Helper()
	p := &batchPlay{}
	synctest.Test(t, func(t *testing.T) {
		c := &scriptedConsumer{play: p, start: time.Now()}
		server := &informertest.ScriptedServer{Log: c.log, Marker: true}
		failed := func(err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			p.errors = append(p.errors, err)
		}
		cfg := push.BatcherConfig[informertest.Object]{
			ListerWatcher: server, Consumer: c, Settings: informer.Settings{ListBudget: informertest.Budget(t, 1, 0), Backoff: informer.Backoff{Jitter: -1}},
			Merger: push.MergerConfig[informertest.Object]{
				Quiet: 100 * time.Millisecond, MaxDelay: time.Second, Backoff: informer.Backoff{Jitter: -1}, ErrorHandler: failed,
			},
			ErrorHandler: func(_ informer.ReflectorInfo, err error) { failed(err) },
		}
		stop := time.Minute
		for _, line := range strings.Split(script, "\n") {
			words := strings.Fields(line)
			switch {
			case server.Read(line):
			case words[0] == "stop":
				stop = informertest.Duration(words[1])
			case words[0] == "page":
				cfg.PageSize = informertest.Number(words[1])
			case words[0] == "streamed":
				cfg.Lists, server.Marker = informer.ListStreamed, false
			case words[0] == "consumer":
				c.rules = append(c.rules, words[1:])
			case words[0] == "resync":
				time.AfterFunc(informertest.Duration(words[1]), func() { p.batcher.Resync(errors.New("a user asks")) })
			default:
				t.Fatalf("cannot read %q", line)
			}
		}
		for _, f := range adapt {
			f(&cfg)
		}
		var err error
		if p.batcher, err = push.NewBatcher("pods", cfg); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(stop, func() {
			p.stats = p.batcher.Stats()
			c.log("stop")
			cancel(errors.New("stopped"))
		})
		p.err = p.batcher.Run(ctx)
		c.log("Run returns")
		synctest.Wait()
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", p.text)
		}
	})
	return p
}

func (c *scriptedConsumer) log(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	c.play.text += fmt.Sprintf("%-8s%s\n", fmt.Sprintf("%.1fs", time.Since(c.start).Seconds()), text)
	if request, ok := strings.CutPrefix(text, "> "); ok {
		c.play.requests = append(c.play.requests, request)
	}
}

func (c *scriptedConsumer) call(ctx context.Context, text string) (err error) {
	c.mu.Lock()
	if c.busy {
		c.play.text += "!! two calls at a time\n"
		c.play.calls = append(c.play.calls, "two calls at a time")
	}
	c.busy = true
	for i, words := range c.rules {
		call := words[1:]
		switch words[0] {
		case "slow", "name":
			call = words[2:]
		case "poison":
			if strings.Contains(text, words[1]) && (strings.HasPrefix(text, "page") || strings.HasPrefix(text, "batch")) {
				err = errors.New("poison")
			}
			continue
		}
		if !strings.HasPrefix(text, strings.Join(call, " ")) {
			continue
		}
		c.rules = append(c.rules[:i:i], c.rules[i+1:]...)
		switch words[0] {
		case "refuse":
			err = errors.New("refused")
		case "name":
			keys := map[store.Key]error{}
			for _, state := range strings.Split(words[1], ",") {
				keys[informertest.MetaOf(informertest.ParseObject(state)).Key] = errors.New("too large")
			}
			err = &push.RefusedError{Keys: keys}
		case "resync":
			err = fmt.Errorf("who are you: %w", store.ErrResync)
		case "panic":
			c.busy = false
			c.mu.Unlock()
			panic("fault in " + text)
		case "slow":
			c.mu.Unlock()
			select {
			case <-time.After(informertest.Duration(words[1])):
			case <-ctx.Done():
				err = context.Cause(ctx)
			}
			c.mu.Lock()
		}
		break
	}
	c.busy = false
	if err == nil || errors.As(err, new(*push.RefusedError)) {
		c.play.calls = append(c.play.calls, text)
	}
	c.mu.Unlock()
	if err != nil {
		text += " -> " + err.Error()
	}
	c.log("    %s", text)
	return err
}

func (c *scriptedConsumer) BeginSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	return c.call(ctx, fmt.Sprintf("begin %d %s", s.Epoch, s.Reason))
}

func (c *scriptedConsumer) SnapshotPage(ctx context.Context, _ push.SnapshotInfo, page []informer.Object[informertest.Object]) error {
	text := "page"
	for _, obj := range page {
		text += " " + informertest.StateOf(obj.Meta)
	}
	return c.call(ctx, text)
}

func (c *scriptedConsumer) EndSnapshot(ctx context.Context, s push.SnapshotInfo) error {
	text := "end " + s.Version
	for _, key := range s.Refused {
		text += " -" + key.String()
	}
	return c.call(ctx, text)
}

func (c *scriptedConsumer) AbortSnapshot(s push.SnapshotInfo, _ error) {
	_ = c.call(context.Background(), fmt.Sprintf("abort %d", s.Epoch))
}

func (c *scriptedConsumer) OnBatch(ctx context.Context, batch push.Batch[informertest.Object]) error {
	return c.call(ctx, "batch "+describeBatch(batch))
}

// describeBatch renders a batch: +a@1 is added, ~a@1 modified, -a@1 deleted, and
// a@1=b@2 replaced; then the version.
func describeBatch(batch push.Batch[informertest.Object]) string {
	var words []string
	for _, c := range batch.Changes {
		switch c.Kind {
		case push.BatchAdded:
			words = append(words, "+"+informertest.StateOf(c.Meta))
		case push.BatchModified:
			words = append(words, "~"+informertest.StateOf(c.Meta))
		case push.BatchReplaced:
			words = append(words, informertest.StateOf(c.Old)+"="+informertest.StateOf(c.Meta))
		case push.BatchDeleted:
			words = append(words, "-"+informertest.StateOf(c.Meta))
		}
	}
	return strings.Join(append(words, "to", batch.Version), " ")
}
