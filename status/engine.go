// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/resource/pool"
)

// Config configures an [Engine].
type Config struct {
	// Dynamic reads the objects. Required.
	Dynamic dynamic.Interface

	// Metadata reads those of kinds whose rule looks at nothing but metadata, such
	// as secrets. Default: Dynamic does, and what they hold is dropped.
	Metadata metadata.Interface

	// Stream requests what is listed and watched in place of Dynamic and Metadata,
	// which takes a fraction of the time and memory: objects are read one by one as
	// they come, and what Rules.Trim takes is not decoded. Dynamic reads by get all
	// the same, and Metadata is not needed. [source.NewStreamFunc] makes one.
	// Default: Dynamic and Metadata list and watch.
	Stream source.StreamFunc

	// Mapping says what a kind is served as. Required; see [ByMapper].
	Mapping MappingFunc

	// Rules say what the status of an object is. Default: those of kstatus.
	Rules *Rules

	// Few is up to how many objects of a kind in a namespace are watched one by
	// one; of more, and of all children, the whole namespace is watched. It is
	// looked at when objects are added to a watch, and counts its objects only.
	// Default 3; negative: none.
	Few int

	// Wide is up to how many namespaces of a kind are watched one by one; with
	// more, all namespaces are watched at once, which takes fewer connections and
	// the memory for what is in all the others. Default 50; negative: never at
	// once.
	Wide int

	// PollInterval is how often is read what may not be watched. Default 10 s.
	PollInterval time.Duration

	// Linger is how long a watch stays open after the last that used it. Default
	// 30 s; negative: not at all.
	Linger time.Duration

	// Backoff tunes how requests are repeated that failed, and by Denied those
	// that are forbidden or of kinds that are not installed.
	Backoff informer.Backoff

	// ListBudget bounds how many lists are read at a time, over all that share it.
	// While nothing is listed it costs the server nothing. Default:
	// [informer.ProcessListBudget].
	ListBudget *informer.ListBudget

	// Observer is told what the informers do. Default: nobody.
	Observer informer.Observer

	// Log has what nobody else is told of, and panics. Default: slog.Default().
	Log *slog.Logger
}

const (
	defaultFew          = 3
	defaultWide         = 50
	defaultPollInterval = 10 * time.Second
)

func (c *Config) complete() error {
	switch {
	case c.Dynamic == nil:
		return errors.New("Config.Dynamic is nil: give a dynamic client")
	case c.Mapping == nil:
		return errors.New("Config.Mapping is nil: give one, such as status.ByMapper(mapper)")
	case c.PollInterval < 0:
		return fmt.Errorf("Config.PollInterval is %v: give a positive duration, or 0 for the default of %v", c.PollInterval, defaultPollInterval)
	}
	if c.Rules == nil {
		c.Rules = &Rules{}
	}
	if c.Few == 0 {
		c.Few = defaultFew
	}
	if c.Wide == 0 {
		c.Wide = defaultWide
	}
	if c.PollInterval == 0 {
		c.PollInterval = defaultPollInterval
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c.Rules.Validate()
}

// Engine tells the status of objects by watching. Nothing is requested until
// somebody asks, by [Engine.Watch], [Engine.Wait] or [Engine.ClusterReader]; all who
// ask share what is watched, which ends when nobody has used it for a while. An
// evaluation makes no request, and while nothing changes there is none but those
// that open a watch again.
//
// What is watched, and what the identity needs, for the objects of a kind: all
// namespaces, if there are more than [Config.Wide]; else a namespace; else, or if
// that is forbidden, each object by itself, which the resourceNames of a role can
// allow. What may be listed and not watched is listed every PollInterval; if that is
// forbidden too, each object is read every PollInterval by get. What is forbidden
// is asked for again, slowly, so that a permission that is granted later is noticed.
//
// Its methods may be called from any goroutine.
type Engine struct {
	cfg    Config
	panics *usercode.Panics // of rules
	pool   *pool.Pool[scope, *unstructured.Unstructured]

	ctx     context.Context // ends with Stop
	cancel  context.CancelCauseFunc
	mu      sync.Mutex // guards that nothing is added to watches after Stop
	watches sync.WaitGroup
}

// ErrStopped is the error of those who ask an [Engine] that was stopped.
var ErrStopped = errors.New("the status engine was stopped")

// New returns an engine. It fails if the configuration makes no sense.
func New(cfg Config) (*Engine, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("status.New: %w", err)
	}
	e := &Engine{cfg: cfg, panics: usercode.New("status", cfg.Log)}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	if err := e.try(); err != nil {
		return nil, fmt.Errorf("status.New: %w", err)
	}
	var err error
	e.pool, err = pool.New(pool.Config[scope, *unstructured.Unstructured]{
		New:    e.newSource,
		Linger: cfg.Linger,
		Log:    cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("status.New: %w", err)
	}
	return e, nil
}

// try makes a source that nobody uses, which fails if the settings make no sense.
func (e *Engine) try() error {
	var lc cell.DefaultLifecycle
	e.newSource(&lc, scope{})
	discard := slog.New(slog.DiscardHandler)
	err := lc.Start(discard, e.ctx)
	return errors.Join(err, lc.Stop(discard, e.ctx))
}

// Stop ends all watches and readers, and returns when no goroutine of the engine is
// left, or with an error when ctx ends. All have been told to end by then, also if ctx
// had ended before.
func (e *Engine) Stop(ctx context.Context) error {
	e.mu.Lock()
	e.cancel(ErrStopped)
	e.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e.watches.Wait()
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("status: a watch has not ended; a rule may not return: %w", context.Cause(ctx))
	}
	return errors.Join(err, e.pool.Stop(ctx))
}

// begin has run run in a goroutine that Stop waits for.
func (e *Engine) begin(run func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return ErrStopped
	}
	e.watches.Go(run)
	return nil
}
