// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// Config configures a [Reflector]. Source and Sink are required; the zero value
// of everything else is a useful default.
type Config[T any] struct {
	// Name tells this reflector from others in logs and errors. Default: the
	// name of T.
	Name string

	// Source is read. One Reflector per Source.
	Source Source[T]

	// Sink is told. One Reflector per Sink.
	Sink store.Sink[T]

	// ResumeFrom is a version up to which the sink has been told of everything,
	// if it has any content: watching starts there, and a list follows only if
	// the server no longer has it. Default: start with a list.
	//
	// The sink may have more than that: a version is often saved now and then,
	// and objects all the time. It is then told again of what it has, older
	// states included ([store.Stale] and [store.Superseded] recognise them), and
	// has the state of the collection at some version only once the watch has
	// caught up. Nobody knows when that is. So until a pass was committed, passes
	// ask for the newest state: one that is merely not older than ResumeFrom
	// might lack objects that the sink has, which would be taken for deleted.
	ResumeFrom string

	// Settings tune requests, delays and checks.
	Settings

	// Observer is told what happens. Optional.
	Observer Observer

	// Log gets the panics of the source, the sink and the observer, at error level:
	// of each function one a minute. It costs the server nothing. Default:
	// slog.Default().
	Log *slog.Logger
}

// ReflectorInfo describes a Reflector at some moment.
type ReflectorInfo struct {
	Name  string
	State State

	// Version is the last version that the sink accepted.
	Version string

	// Epoch is that of the last pass that was begun; Passes is how many were
	// committed.
	Epoch, Passes uint64

	// Contact is when the server was last heard of: an answer, an event or a
	// bookmark. Zero if never.
	Contact time.Time

	// Err is the newest failure that made the Reflector back off, and Cause its
	// class. A success of what failed makes it nil: a pass that was committed or got
	// further than the one that failed, a watch that was opened, an event that the
	// sink accepted. A failure that the Reflector has an answer to at once, such as a
	// streamed list that the server rejects, is not one.
	Err   error
	Cause Cause

	// Polling is set while the Reflector polls, and says how often and why. It
	// must not be modified. It is no failure: while it is set, Err is that of the
	// last poll, nil if that succeeded.
	Polling *Polling

	// Panics counts the panics of the source, the sink and the observer. The rule for
	// them is in the documentation of package resource.
	Panics uint64

	// LeftOut are the objects whose newest state is left out, by key, because it cannot be
	// decoded. They are 100 at most: MoreLeftOut is set if there are, or were at the last
	// pass, more than these. The list must not be modified.
	LeftOut     []LeftOut
	MoreLeftOut bool
}

// State is the state of a Reflector.
type State string

const (
	StateIdle       State = "idle"        // not running
	StateListing    State = "listing"     // a pass is under way, or awaits its turn (Settings.ListBudget)
	StateWatching   State = "watching"    // a watch is open
	StateBackingOff State = "backing off" // waiting after a failure
	StateDraining   State = "draining"    // waiting for the sink, after a FullError
	StatePolling    State = "polling"     // waiting for the next poll, since there can be no watch
)

// Reflector keeps a sink in step with a source: it lists, watches, resumes a
// watch that ended, and lists again when a watch cannot be resumed.
//
//   - A watch that was closed, reset, or fell silent is resumed from the last
//     version that the sink accepted. A new pass is made only if the server no
//     longer has that version, if asked for, or if resuming failed for long.
//   - Where the server lists and refuses to watch, there is a pass now and then
//     instead: see Polling in the documentation of the package.
//   - Every list has a limit.
//   - What is read is handed to the sink at once; between the wire and the sink
//     there is one page at most.
//   - A pass is never older than what was delivered before.
type Reflector[T any] struct {
	cfg       Config[T]
	keeper    keeper    // the sink, if it is one
	base      time.Time // times are kept as durations since it
	started   atomic.Bool
	detecting func(run func()) // of store.DetectMutations
	observers observers
	panics    *usercode.Panics
	strict    bool // see StrictDecoder

	mu        sync.Mutex
	info      ReflectorInfo // but for Contact and Panics
	contact   time.Duration
	heard     bool // contact is set
	asked     bool
	askedFor  error
	interrupt context.CancelCauseFunc // ends the watch under way
}

// NewReflector returns a Reflector that does nothing until Run. It fails if the
// source or the sink is missing, or a setting makes no sense.
func NewReflector[T any](cfg Config[T]) (*Reflector[T], error) {
	if cfg.Name == "" {
		cfg.Name = check.TypeName[T]()
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("reflector of %s: %w", cfg.Name, err)
	}
	r := &Reflector[T]{base: time.Now(), panics: usercode.New(cfg.Name, cfg.Log), observers: asObservers(cfg.Observer)}
	r.keeper, _ = cfg.Sink.(keeper)
	if s, ok := cfg.Source.(StrictDecoder); ok {
		r.strict = s.StrictDecoding()
	}
	cfg.Sink, r.detecting = store.DetectMutations(cfg.Name, cfg.Sink)
	cfg.Source, cfg.Sink = safeSource[T]{cfg.Source, r.panics}, safeSink[T]{cfg.Sink, r.panics}
	r.cfg = cfg
	r.info = ReflectorInfo{Name: cfg.Name, State: StateIdle, Version: cfg.ResumeFrom}
	return r, nil
}

// complete checks the configuration and fills in the defaults.
func (c *Config[T]) complete() error {
	if check.IsNil(c.Source) {
		return errors.New("Config.Source is nil: give what is to be read, for example FromListerWatcher(…)")
	}
	if check.IsNil(c.Sink) {
		return errors.New("Config.Sink is nil: give what is to be told, for example a store.Store")
	}
	if err := check.Validate(c.Source); err != nil {
		return fmt.Errorf("Config.Source: %w", err)
	}
	if err := check.Validate(c.Sink); err != nil {
		return fmt.Errorf("Config.Sink: %w", err)
	}
	if _, ok := c.Source.(MetadataLister); c.CheckMetadata && !ok {
		return fmt.Errorf("Settings.CheckMetadata is set, and Config.Source (%T) is no MetadataLister: leave it out, or read by package cells or source.NewListWatchFromClient", c.Source)
	}
	return c.Settings.complete()
}

// Run reflects until ctx ends, and returns the cause of that. It must be called
// once: a second call returns an error at once. When it returns, no request is
// under way, no goroutine is left and no call of the sink or the observer will
// follow; for the one exception, a source that ignores its context, see
// [source.FromListerWatcher]. Nothing but the end of ctx makes it return: failures are
// observed, and retried. A panic of the source or the sink is a failure as well; one
// of the observer loses what it was told.
func (r *Reflector[T]) Run(ctx context.Context) error {
	if !r.started.CompareAndSwap(false, true) {
		return fmt.Errorf("reflector %s: Run was called before: make a new Reflector to run again", r.cfg.Name)
	}
	defer r.update(func(i *ReflectorInfo) { i.State, i.Polling = StateIdle, nil })
	c := cycle[T]{r: r, cfg: &r.cfg, ctx: ctx, version: known(r.cfg.ResumeFrom), consistent: r.cfg.ResumeFrom != ""}
	c.listed, c.missing.keeper = c.version, r.keeper
	c.resetEvidence()
	c.proof.since, c.proof.passed, c.proof.objects = c.now(), c.now(), -1
	r.detecting(c.run)
	return context.Cause(ctx)
}

// Resync asks for a new pass; the watch under way is ended for it. Several requests before
// the pass begins are one. A request that comes within a pass is for another one after it.
// Such passes begin [Backoff.Initial] apart at least. A backoff is cut short, to as much. If
// the pass fails, the watch goes on, and the pass is tried again with [Backoff]. Resync does
// not block, and can be called from anywhere, at any time.
func (r *Reflector[T]) Resync(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked {
		r.asked, r.askedFor = true, cause
	}
	if r.interrupt != nil {
		r.interrupt(errAsked)
	}
}

// takeAsked returns and clears what Resync asked for.
func (r *Reflector[T]) takeAsked() (cause error, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cause, asked = r.askedFor, r.asked
	r.askedFor, r.asked = nil, false
	return cause, asked
}

// onAsked makes Resync call interrupt, at once if it was called before; nil
// ends that.
func (r *Reflector[T]) onAsked(interrupt context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt = interrupt
	if interrupt != nil && r.asked {
		interrupt(errAsked)
	}
}

// Info says how the Reflector is doing. It may be called from anywhere.
func (r *Reflector[T]) Info() ReflectorInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	info := r.info
	info.Panics = r.panics.Count()
	if r.heard {
		info.Contact = r.base.Add(r.contact)
	}
	return info
}

// HasInitializedSynced reports whether the sink accepted a whole pass: it was told
// of the whole collection at least once. It stays true from then on, whatever
// fails, and the end of Run does not make it true. With [Config.ResumeFrom] it is
// false for as long as no pass is needed. It may be called from anywhere.
func (r *Reflector[T]) HasInitializedSynced() bool { return r.Info().Passes > 0 }

// LastSyncResourceVersion returns the last version that the sink accepted:
// [Config.ResumeFrom] before the first one. It may be called from anywhere.
func (r *Reflector[T]) LastSyncResourceVersion() string { return r.Info().Version }

// update changes what Info says.
func (r *Reflector[T]) update(change func(*ReflectorInfo)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.info)
}

func (r *Reflector[T]) setState(s State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info.State = s
}

// contacted notes that the server was heard of at the given time since base.
func (r *Reflector[T]) contacted(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contact, r.heard = at, true
}

// accepted notes that the sink accepted a call that brings it to version, after
// the server was heard of at the given time since base.
func (r *Reflector[T]) accepted(version string, at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contact, r.heard = at, true
	r.info.Version = version
}

func (r *Reflector[T]) observe(o Occurrence) {
	info := r.Info()
	for _, observer := range r.observers {
		_ = r.panics.Call("observer", "", store.Key{}, func() { observer.Observe(info, o) })
	}
}
