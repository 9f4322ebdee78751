// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/store"
)

// mirrorPlay is what came of a script that was played to a
// ResourceVersionInformer in virtual time. testdata/mirror/README.md explains the
// scripts.
type mirrorPlay struct {
	text     string   // all that happened
	requests []string // such as "list limit=2"
	calls    []string // of the handler that succeeded, such as "add a@1"
	errors   []error  // that the error handler got
	resumes  []string // versions that the handler got to save
	stats    mirror.InformerStats
	recorded map[string]string // version by name
	informer *mirror.ResourceVersionInformer[informertest.Object]
}

// count returns how many calls begin so.
func (p *mirrorPlay) count(prefix string) (n int) {
	for _, call := range p.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

// playMirror plays a script. Adapt may change the configuration.
func playMirror(t *testing.T, script string, adapt ...func(*mirror.InformerConfig[informertest.Object])) *mirrorPlay {
	t.Helper()
	p := &mirrorPlay{recorded: map[string]string{}}
	synctest.Test(t, func(t *testing.T) {
		h := &scriptedHandler{play: p, start: time.Now()}
		server := &informertest.ScriptedServer{Log: h.log, Marker: true}
		cfg := mirror.InformerConfig[informertest.Object]{
			ListerWatcher: server, Handler: h, Workers: 1, SkipSync: true, Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}, ListBudget: informertest.Budget(t, 1, 0)},
			Storage: mirror.NewResourceVersionStorage(), ResumeInterval: 100 * time.Millisecond,
			ErrorHandler: func(_ informer.ReflectorInfo, err error) {
				h.mu.Lock()
				defer h.mu.Unlock()
				p.errors = append(p.errors, err)
			},
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				switch o.(type) {
				case informer.ListFailed, informer.RelistNeeded, informer.BackingOff, informer.Draining, informer.WentBackwards:
					h.log("* %s", informertest.Occurrence(h.start, o))
				}
			}),
		}
		stop := h.read(t, script, server, &cfg)
		for _, f := range adapt {
			f(&cfg)
		}
		i, err := mirror.NewResourceVersionInformer("pods", cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.informer = i
		ctx, cancel := context.WithCancelCause(t.Context())
		for at, do := range h.acts {
			time.AfterFunc(at, do)
		}
		time.AfterFunc(stop, func() {
			p.stats = i.Stats()
			h.log("stop")
			cancel(errors.New("stopped"))
		})
		err = i.Run(ctx)
		h.log("Run returns: %v", err)
		if left := len(server.Replies); left > 0 {
			h.log("!! %d answers of the script were not asked for", left)
		}
		synctest.Wait()
		_, versions := i.Snapshot()
		for meta, err := range versions {
			if err != nil {
				t.Error(err)
			}
			p.recorded[meta.Key.Name] = meta.Version
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", p.text)
		}
	})
	return p
}

// scriptedHandler logs its calls, each of which takes a millisecond, and refuses
// and waits by rule.
type scriptedHandler struct {
	play  *mirrorPlay
	start time.Time
	acts  map[time.Duration]func()
	quiet bool // about resume versions

	mu    sync.Mutex
	rules [][]string
}

func (h *scriptedHandler) log(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	at := fmt.Sprintf("%.1fs", time.Since(h.start).Seconds())
	h.play.text += fmt.Sprintf("%-8s%s\n", at, text)
	if request, ok := strings.CutPrefix(text, "> "); ok {
		h.play.requests = append(h.play.requests, request)
	}
}

// read reads a script, and returns when it stops.
func (h *scriptedHandler) read(t *testing.T, script string, server *informertest.ScriptedServer, cfg *mirror.InformerConfig[informertest.Object]) (stop time.Duration) {
	stop = time.Minute
	h.acts = map[time.Duration]func(){}
	for _, line := range strings.Split(script, "\n") {
		words := strings.Fields(line)
		switch {
		case server.Read(line):
		case words[0] == "stop":
			stop = informertest.Duration(words[1])
		case words[0] == "resync":
			h.acts[informertest.Duration(words[1])] = func() {
				h.log("Resync")
				h.play.informer.Resync(errors.New("a user asks"))
			}
		case words[0] == "stats":
			h.acts[informertest.Duration(words[1])] = func() { h.logStats(h.play.informer.Stats()) }
		case words[0] == "seed":
			for _, w := range words[1:] {
				if err := cfg.Storage.Set(informertest.MetaOf(informertest.ParseObject(w)), 0); err != nil {
					t.Fatal(err)
				}
			}
		case words[0] == "handler":
			h.rules = append(h.rules, words[1:])
		case words[0] == "config":
			for _, w := range words[1:] {
				key, value, _ := strings.Cut(w, "=")
				switch key {
				case "page":
					cfg.PageSize = informertest.Number(value)
				case "nosave":
					h.quiet = true
				case "streamed":
					cfg.Lists, server.Marker = informer.ListStreamed, false
				case "sync":
					cfg.SkipSync = false
				case "resume":
					cfg.ResumeVersion = value
				case "pending":
					cfg.MaxPending = int(informertest.Number(value))
				case "workers":
					cfg.Workers = int(informertest.Number(value))
				case "filter":
					cfg.Handler = mirror.FilteringResourceEventHandler[informertest.Object]{
						Handler:    h,
						FilterFunc: func(obj informertest.Object) bool { return strings.Contains(string(obj.UID), value) },
					}
				default:
					t.Fatalf("unknown setting %q", w)
				}
			}
		default:
			t.Fatalf("cannot read %q", line)
		}
	}
	return stop
}

func (h *scriptedHandler) logStats(s mirror.InformerStats) {
	text := fmt.Sprintf("synced %t, resume version %q, %d recorded, %d pending, %d failing", s.Synced, s.ResumeVersion, s.Recorded, s.Pending, s.Failing)
	if b := s.HeldBack; b != nil {
		text += fmt.Sprintf(", held back by %s (%d failures)", b.Key, b.Failures)
	}
	h.log("= %s", text)
}

// call logs a call and does what the first rule for it says, once.
func (h *scriptedHandler) call(ctx context.Context, text string, initial bool) (err error) {
	time.Sleep(time.Millisecond) // so that the log has an order
	h.mu.Lock()
	for i, words := range h.rules {
		call := words[1:]
		if words[0] == "slow" {
			call = words[2:]
		}
		if !strings.HasPrefix(text, strings.Join(call, " ")) {
			continue
		}
		h.rules = append(h.rules[:i:i], h.rules[i+1:]...)
		switch words[0] {
		case "refuse":
			err = errors.New("refused")
		case "drop":
			err = mirror.ErrNotKept
		case "slow":
			h.mu.Unlock()
			h.log("    %s ...", text)
			select {
			case <-time.After(informertest.Duration(words[1])):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			h.mu.Lock()
		}
		break
	}
	h.mu.Unlock()
	if initial {
		text += " (initial)"
	}
	h.mu.Lock()
	if err == nil {
		h.play.calls = append(h.play.calls, text)
	}
	h.mu.Unlock()
	if err != nil {
		text += " -> " + err.Error()
	}
	h.log("    %s", text)
	return err
}

func (h *scriptedHandler) OnAdd(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, "add "+informertest.StateOf(obj.Meta), obj.IsInInitialList)
}

func (h *scriptedHandler) OnUpdate(ctx context.Context, old store.Meta, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, "update "+informertest.StateOf(obj.Meta)+" was "+informertest.StateOf(old), obj.IsInInitialList)
}

func (h *scriptedHandler) OnDelete(ctx context.Context, gone mirror.Deletion[informertest.Object]) error {
	text := "delete " + informertest.StateOf(gone.Meta)
	if gone.Known {
		text += " last " + informertest.StateOf(informertest.MetaOf(gone.Object))
	}
	return h.call(ctx, text, gone.IsInInitialList)
}

func (h *scriptedHandler) OnSync(ctx context.Context, obj informer.Object[informertest.Object]) error {
	return h.call(ctx, "sync "+informertest.StateOf(obj.Meta), obj.IsInInitialList)
}

// UpdateResourceVersion takes its time, so that the log has an order.
func (h *scriptedHandler) UpdateResourceVersion(_ context.Context, version string) error {
	time.Sleep(5500 * time.Microsecond)
	h.mu.Lock()
	h.play.resumes = append(h.play.resumes, version)
	h.mu.Unlock()
	if !h.quiet {
		h.log("    save resume version %q", version)
	}
	return nil
}
