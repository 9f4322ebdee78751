// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// TestTraces plays each script of testdata/trace in virtual time and compares
// what happens with what the file says. testdata/trace/README.md explains the
// format; -update writes it.
func TestTraces(t *testing.T) {
	informertest.PlayTraces(t, "testdata/trace/*.txt", func(t *testing.T, script string) string {
		return play(t, script, func(s informer.Source[informertest.Object]) informer.Source[informertest.Object] { return s })
	})
}

// TestTracesReplayed records each script of testdata/trace, and replays the recording without
// the server. The sink gets the same calls at the same times, and the observer the same events.
func TestTracesReplayed(t *testing.T) {
	files, err := filepath.Glob("testdata/trace/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, _, _ := strings.Cut(string(data), "-- what happens --\n")
			var recording bytes.Buffer
			want := play(t, script, func(s informer.Source[informertest.Object]) informer.Source[informertest.Object] {
				return record.NewSource(s, &recording)
			})
			var replay *record.Replay[informertest.Object]
			got := play(t, script, func(informer.Source[informertest.Object]) informer.Source[informertest.Object] {
				if replay, err = record.NewReplay[informertest.Object](&recording, 1); err != nil {
					t.Fatal(err)
				}
				return replay
			})
			if got, want := withoutServer(got), withoutServer(want); got != want {
				t.Errorf("the replay differs:\n%s\nrecorded was\n%s", got, want)
			}
			if err := replay.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// withoutServer returns a trace without the requests that the server got.
func withoutServer(trace string) string {
	var kept strings.Builder
	for line := range strings.Lines(trace) {
		if _, what, _ := strings.Cut(line, " "); !strings.HasPrefix(strings.TrimSpace(what), "> ") && !strings.Contains(line, "!!") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// play plays a script on a server. reads returns the source to read in place of the server's.
func play(t *testing.T, script string, reads func(informer.Source[informertest.Object]) informer.Source[informertest.Object]) string {
	var out strings.Builder
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		log := func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			at := fmt.Sprintf("%.1fs", time.Since(start).Seconds())
			fmt.Fprintf(&out, "%-8s"+format+"\n", append([]any{at}, args...)...)
		}
		server := &informertest.ScriptedServer{Log: log}
		sink := &tracingSink{log: log, held: map[store.Key]store.Meta{}}
		cfg := informer.Config[informertest.Object]{
			Name: "pods", Sink: sink, Settings: informer.Settings{Backoff: informer.Backoff{Jitter: -1}},
			Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
				if text := informertest.ReflectorEvent(start, o); text != "" {
					log("* %s", text)
				}
			}),
		}
		type act struct {
			at time.Duration
			do func(r *informer.Reflector[informertest.Object])
		}
		var acts []act
		stop := time.Minute
		for _, line := range strings.Split(script, "\n") {
			words := strings.Fields(line)
			switch {
			case server.Read(line):
			case words[0] == "stop":
				stop = informertest.Duration(words[1])
			case words[0] == "resync":
				acts = append(acts, act{informertest.Duration(words[1]), func(r *informer.Reflector[informertest.Object]) {
					log("Resync")
					r.Resync(errors.New("a user asks"))
				}})
			case words[0] == "sink" && words[1] == "holds":
				for _, w := range words[2:] {
					m := store.MetaOf(informertest.ParseObject(w))
					sink.held[m.Key] = m
				}
			case words[0] == "sink":
				sink.rules = append(sink.rules, words[1:])
			case words[0] == "config":
				for _, w := range words[1:] {
					key, value, _ := strings.Cut(w, "=")
					switch key {
					case "page":
						cfg.PageSize = informertest.Number(value)
					case "paged":
						cfg.Lists = informer.ListPaged
					case "marker":
						server.Marker = true
					case "blocks":
						sink.blocks = true
					case "resume":
						cfg.ResumeFrom = value
					case "retry":
						cfg.MaxInternalErrorRetryDuration = informertest.Duration(value)
					case "poll":
						cfg.PollInterval = informertest.Duration(value)
					case "check":
						cfg.CheckInterval = informertest.Duration(value)
					case "every":
						cfg.ResyncInterval = informertest.Duration(value)
					default:
						t.Fatalf("unknown setting %q", w)
					}
				}
			default:
				t.Fatalf("cannot read %q", line)
			}
		}
		cfg.Source = reads(source.FromListerWatcher[informertest.Object](server, nil))
		r, err := informer.NewReflector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		for _, a := range acts {
			time.AfterFunc(a.at, func() { a.do(r) })
		}
		time.AfterFunc(stop, func() {
			log("stop")
			cancel(errors.New("stopped"))
		})
		err = r.Run(ctx)
		log("Run returns: %v, at version %q", err, r.Info().Version)
		if left := len(server.Replies); left > 0 {
			log("!! %d answers of the script were not asked for", left)
		}
		synctest.Wait()
	})
	return out.String()
}

// tracingSink logs its calls, holds what it was given, and refuses by rule.
type tracingSink struct {
	store.SinkDefaults
	log    func(string, ...any)
	held   map[store.Key]store.Meta
	seen   map[store.Key]bool
	rules  [][]string
	blocks bool
}

func (s *tracingSink) GetMeta(key store.Key) (store.Meta, bool) {
	meta, ok := s.held[key]
	return meta, ok
}

func (s *tracingSink) Keys() iter.Seq[store.Key] {
	return slices.Values(slices.SortedFunc(maps.Keys(s.held), store.Key.Compare))
}

func (s *tracingSink) Len() int { return len(s.held) }

func (s *tracingSink) rule(call string) error {
	for i, words := range s.rules {
		if strings.Join(words[1:], " ") != call && !(words[0] == "full" && strings.Join(words[2:], " ") == call) {
			continue
		}
		s.rules = append(s.rules[:i:i], s.rules[i+1:]...)
		switch words[0] {
		case "refuse":
			return errors.New("refused")
		case "resync":
			return fmt.Errorf("confused: %w", store.ErrResync)
		case "full":
			drained := make(chan struct{})
			time.AfterFunc(informertest.Duration(words[1]), func() {
				s.log("drained")
				close(drained)
			})
			return &store.FullError{Drained: drained}
		case "slow":
			time.Sleep(10 * time.Minute)
		}
	}
	return nil
}

func (s *tracingSink) call(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	err := s.rule(strings.Join(strings.Fields(text)[:min(2, len(strings.Fields(text)))], " "))
	if err != nil {
		text += " -> " + err.Error()
	}
	s.log("    %s", text)
	return err
}

func (s *tracingSink) MayBlock() bool { return s.blocks }

func (s *tracingSink) Begin(_ context.Context, p store.Pass) error {
	s.seen = map[store.Key]bool{}
	how := map[bool]string{true: ", anew"}[p.Anew]
	return s.call("begin %d, %s%s", p.Epoch, p.Reason, how)
}

func (s *tracingSink) Has(m store.Meta) bool {
	held := s.held[m.Key] == m
	if held {
		s.seen[m.Key] = true
		s.log("    holds %v", m)
	}
	return held
}

func (s *tracingSink) Apply(_ context.Context, m store.Meta, _ informertest.Object) error {
	if err := s.call("apply %v", m); err != nil {
		return err
	}
	s.held[m.Key] = m
	if s.seen != nil {
		s.seen[m.Key] = true
	}
	return nil
}

func (s *tracingSink) Delete(_ context.Context, m store.Meta, _ informertest.Object, _ bool) error {
	if err := s.call("delete %v", m); err != nil {
		return err
	}
	delete(s.held, m.Key)
	return nil
}

func (s *tracingSink) Page(_ context.Context, p store.PageInfo) error {
	return s.call("page %d", p.Number)
}

func (s *tracingSink) Commit(_ context.Context, version string) error {
	var gone []string
	for key := range s.held {
		if !s.seen[key] {
			gone = append(gone, key.String())
		}
	}
	slices.Sort(gone)
	text := ""
	if len(gone) > 0 {
		text = " gone: " + strings.Join(gone, " ")
	}
	if err := s.call("commit %s%s", version, text); err != nil {
		return err
	}
	for key := range s.held {
		if !s.seen[key] {
			delete(s.held, key)
		}
	}
	s.seen = nil
	return nil
}

func (s *tracingSink) Abort(p store.Pass, cause error) {
	s.seen = nil
	_ = s.call("abort %d: %v", p.Epoch, cause)
}

func (s *tracingSink) Progress(_ context.Context, version string) error {
	return s.call("progress %s", version)
}
