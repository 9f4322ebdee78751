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

	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/store"
)

// Config configures a [Reflector]. Source and Sink are required. The zero value of every
// other field is a useful default.
type Config[T any] struct {
	// Name identifies the reflector in logs and errors. Default: the name of T.
	Name string

	// Namespace is the namespace that Source reads. It distinguishes Reflectors with one
	// Name in logs, errors and occurrences. Default: empty, they show the Name only.
	Namespace string

	// Source reads the collection. It must belong to this Reflector only.
	Source Source[T]

	// Sink receives the collection and its changes. It must belong to this Reflector only.
	Sink store.Sink[T]

	// ResumeFrom is a version up to which a sink with content has all changes. Watching
	// starts there, and a list follows only if the server no longer has the version.
	// Default: start with a list.
	//
	// The sink can be ahead of ResumeFrom, for example if it saves objects at once and the
	// version now and then. It then receives changes again, older states included
	// ([store.Stale] and [store.Superseded] recognise them). Until the watch has caught up,
	// it does not have the state of any one version. So passes ask for the newest state until
	// one is committed. A pass at ResumeFrom could lack objects that the sink has, and would
	// delete them.
	ResumeFrom string

	// Settings tune requests, delays and checks.
	Settings

	// Observer gets what happens. Optional.
	Observer Observer

	// Log gets the panics of the source, the sink and the observer, at error level, one a
	// minute for each function. Default: slog.Default().
	Log *slog.Logger
}

// ReflectorInfo is the state of a Reflector at one point in time.
type ReflectorInfo struct {
	Name  string
	State State

	// Namespace is that of the [Config].
	Namespace string

	// Version is the last version that the sink accepted.
	Version string

	// Epoch is the epoch of the last pass that began. Passes counts the committed ones.
	Epoch, Passes uint64

	// WatchEvents counts the events of watches, without bookmarks, that the sink accepted.
	WatchEvents uint64

	// ObjectBytes is the estimated mean of the bytes in memory that an object takes, without
	// what it has in common with others. It is 0 before the first object.
	ObjectBytes int64

	// Contact is the time of the last response, event or bookmark of the server. It is zero
	// if there was none.
	Contact time.Time

	// Err is the newest failure that made the Reflector back off, and Cause is its class. Err
	// is nil after a success: a pass is committed or gets further than the one that failed, a
	// watch opens, or the sink accepts an event. A failure with another request at once is
	// not shown, such as a streamed list that the server rejects.
	Err   error
	Cause Cause

	// Polling has the interval and the reason while the Reflector polls. It must not be
	// modified. Polling is no failure: Err is then the error of the last poll, or nil.
	Polling *Polling

	// Panics counts the panics of the source, the sink and the observer. The documentation
	// of package resource has the rule.
	Panics uint64

	// LeftOut has the objects whose newest state is left out because it cannot be decoded,
	// sorted by key, 100 at most. MoreLeftOut is set if there are more, or were more at the
	// last pass. The list must not be modified.
	LeftOut     []LeftOut
	MoreLeftOut bool
}

// State is the state of a Reflector.
type State string

const (
	StateIdle       State = "idle"        // not running
	StateListing    State = "listing"     // a pass is under way, or waits for the Settings.ListBudget
	StateWatching   State = "watching"    // a watch is open
	StateBackingOff State = "backing off" // waiting after a failure
	StateDraining   State = "draining"    // waiting for the sink, after a FullError
	StatePolling    State = "polling"     // waiting for the next poll, because the watch is refused
)

// Reflector keeps a sink up to date with a source: it lists, watches, resumes a watch that
// ended, and lists again if the watch cannot be resumed. The documentation of the package has
// the rules. Objects are handed to the sink as they are read: one page at most is in memory.
type Reflector[T any] struct {
	cfg       Config[T]
	keeper    keeper    // the sink, if it is one
	base      time.Time // times are kept as durations since it
	started   atomic.Bool
	detecting func(run func()) // of store.DetectMutations
	observers observers
	sizes     sizes
	observing sync.Mutex // held while they are called
	panics    *usercode.Panics
	strict    bool // see StrictDecoder

	mu        sync.Mutex
	info      ReflectorInfo // without Contact and Panics
	contact   time.Duration
	heard     bool // contact is set
	asked     bool
	askedFor  error
	interrupt context.CancelCauseFunc // ends the watch under way
}

// NewReflector returns a Reflector that does nothing until Run. It returns an error if the
// source or the sink is missing, or a setting makes no sense.
func NewReflector[T any](cfg Config[T]) (*Reflector[T], error) {
	if cfg.Name == "" {
		cfg.Name = check.TypeName[T]()
	}
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("reflector of %s: %w", cfg.title(), err)
	}
	r := &Reflector[T]{base: time.Now(), panics: usercode.New(cfg.Name, cfg.Log), observers: asObservers(cfg.Observer)}
	r.keeper, _ = cfg.Sink.(keeper)
	if s, ok := cfg.Source.(StrictDecoder); ok {
		r.strict = s.StrictDecoding()
	}
	cfg.Sink, r.detecting = store.DetectMutations(cfg.Name, cfg.Sink)
	cfg.Source, cfg.Sink = safeSource[T]{cfg.Source, r.panics}, safeSink[T]{cfg.Sink, r.panics}
	r.cfg = cfg
	r.info = ReflectorInfo{Name: cfg.Name, Namespace: cfg.Namespace, State: StateIdle, Version: cfg.ResumeFrom}
	return r, nil
}

// title returns the name and the namespace, for errors.
func (c *Config[T]) title() string {
	if c.Namespace == "" {
		return c.Name
	}
	return c.Name + " in namespace " + c.Namespace
}

// complete checks the configuration and fills in the defaults.
func (c *Config[T]) complete() error {
	if check.IsNil(c.Source) {
		return errors.New("Config.Source is nil: set it, for example to source.FromListerWatcher(…)")
	}
	if check.IsNil(c.Sink) {
		return errors.New("Config.Sink is nil: set it, for example to a store.Store")
	}
	if err := check.Validate(c.Source); err != nil {
		return fmt.Errorf("Config.Source: %w", err)
	}
	if err := check.Validate(c.Sink); err != nil {
		return fmt.Errorf("Config.Sink: %w", err)
	}
	if _, ok := c.Source.(MetadataLister); c.CheckMetadata && !ok {
		return fmt.Errorf("Settings.CheckMetadata is set, and Config.Source (%T) is no MetadataLister: unset it, or use a source of package cells or of source.NewListWatchFromClient", c.Source)
	}
	return c.Settings.complete()
}

// Run blocks until ctx ends, and returns the cause of ctx. Failures do not end it: they are
// observed and retried. A panic of the source or the sink is a failure. A panic of the
// observer loses the occurrence. A second call returns an error at once.
//
// When Run has returned, no request is under way, no goroutine is left, and no call of the
// sink or the observer follows. A source that ignores its context is an exception, see
// source.FromListerWatcher.
func (r *Reflector[T]) Run(ctx context.Context) error {
	if !r.started.CompareAndSwap(false, true) {
		return fmt.Errorf("reflector %s: Run was called before: make a new Reflector to run again", r.cfg.title())
	}
	defer r.update(func(i *ReflectorInfo) { i.State, i.Polling = StateIdle, nil })
	c := cycle[T]{r: r, cfg: &r.cfg, ctx: ctx, version: known(r.cfg.ResumeFrom), consistent: r.cfg.ResumeFrom != ""}
	c.listed, c.missing.keeper = c.version, r.keeper
	c.resetEvidence()
	c.proof.since, c.proof.passed, c.proof.objects = c.now(), c.now(), -1
	r.detecting(c.run)
	return context.Cause(ctx)
}

// Resync requests a new pass, and ends the current watch for it. Calls before the pass begins
// are merged. A call within a pass requests another one after it. Passes for Resync begin at
// least [Backoff].Initial apart, and a backoff is cut to that time. If the pass fails, the
// watch goes on, and the pass is tried again with Backoff. Resync does not block, and can be
// called from any goroutine, at any time.
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

// takeAsked returns and clears the request of Resync.
func (r *Reflector[T]) takeAsked() (cause error, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cause, asked = r.askedFor, r.asked
	r.askedFor, r.asked = nil, false
	return cause, asked
}

// onAsked makes Resync call interrupt, at once if a request is there already. Nil ends that.
func (r *Reflector[T]) onAsked(interrupt context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.interrupt = interrupt
	if interrupt != nil && r.asked {
		interrupt(errAsked)
	}
}

// Info returns the current state. It can be called from any goroutine.
func (r *Reflector[T]) Info() ReflectorInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	info := r.info
	info.Panics = r.panics.Count()
	info.ObjectBytes = r.sizes.mean()
	if r.heard {
		info.Contact = r.base.Add(r.contact)
	}
	return info
}

// HasInitializedSynced reports whether the sink has accepted a whole pass. Once true, it stays
// true. With [Config].ResumeFrom it is false until a pass is needed and committed. It can be
// called from any goroutine.
func (r *Reflector[T]) HasInitializedSynced() bool { return r.Info().Passes > 0 }

// LastSyncResourceVersion returns the last version that the sink accepted. Before the first
// one it returns [Config].ResumeFrom. It can be called from any goroutine.
func (r *Reflector[T]) LastSyncResourceVersion() string { return r.Info().Version }

// update changes the result of Info.
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

// contacted records a response of the server at the given time since base.
func (r *Reflector[T]) contacted(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contact, r.heard = at, true
}

// accepted records that the sink accepted an event that brings it to version, and a response of
// the server at the given time since base.
func (r *Reflector[T]) accepted(version string, at time.Duration, event watch.EventType) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contact, r.heard = at, true
	r.info.Version = version
	if event != watch.Bookmark {
		r.info.WatchEvents++
	}
}

func (r *Reflector[T]) observe(o ReflectorEvent) {
	if len(r.observers) == 0 {
		return
	}
	r.observing.Lock()
	defer r.observing.Unlock()
	info := r.Info()
	for _, observer := range r.observers {
		_ = r.panics.Call("observer", "", store.Key{}, func() { observer.Observe(info, o) })
	}
}
