// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"cmp"
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
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/usercode"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/resource/pool"
)

// Config configures an [Engine].
type Config struct {
	// Dynamic reads the objects. Required.
	Dynamic dynamic.Interface

	// Metadata reads the kinds whose rule reads only metadata, such as Secrets.
	// Default: Dynamic reads them, and the rest of each object is dropped.
	Metadata metadata.Interface

	// Stream lists and watches in place of Dynamic and Metadata, in a fraction of the
	// time and memory: objects are decoded one by one as they arrive, without the
	// fields that Rules.Trim removes. Dynamic is still used for get. Metadata is not
	// needed. [source.NewStreamFunc] returns one. Default: Dynamic and Metadata list
	// and watch.
	Stream source.StreamFunc

	// Mapping maps a kind to its resource. Required; see [ByMapper].
	Mapping MappingFunc

	// Rules compute the status of an object. Default: the zero Rules.
	Rules *Rules

	// Few is how many objects of a kind in a namespace a Watch watches one by one. With
	// more, and for children, it watches the whole namespace. Each Watch counts its own
	// objects when it adds some. Default: 3. Negative: none.
	Few int

	// Wide is how many namespaces of a kind a Watch watches one by one. With more, it
	// watches all namespaces at once. That takes fewer connections, and memory for the
	// objects of all other namespaces. Default: 50. Negative: no limit.
	Wide int

	// PollInterval is the time between reads of objects that can be read but not
	// watched. Default: 10s.
	PollInterval time.Duration

	// Linger is how long a watch stays open after its last use. Default: 30s. Negative:
	// not at all.
	Linger time.Duration

	// IdleTimeout is how long a [CachedReader] keeps a collection open after its last
	// read. Default: 10m. Negative: until the end of the reader.
	IdleTimeout time.Duration

	// Backoff spaces the retries of failed requests. Its field Denied is for requests
	// that are forbidden and for kinds that are not installed.
	Backoff informer.Backoff

	// ListBudget limits how many lists are read at the same time by all that share it.
	// Default: [informer.ProcessListBudget].
	ListBudget *informer.ListBudget

	// Observer receives the events of the informers. Default: none.
	Observer informer.Observer

	// NewResource makes the resource of what the engine reads: the objects of a kind, in all
	// namespaces or in one, or a single object. The resource has a name that says which. It
	// starts and stops with lc when the engine begins and ends to read. A function can add
	// options to opts, which it must pass on. It is called from any goroutine. Default:
	// resource.New.
	NewResource func(lc cell.Lifecycle, lw cache.ListerWatcher, opts ...resource.Option) resource.Resource[*unstructured.Unstructured]

	// Log receives panics, and errors that reach no caller. Default: slog.Default().
	Log *slog.Logger
}

const (
	defaultFew          = 3
	defaultWide         = 50
	defaultPollInterval = 10 * time.Second
	defaultIdleTimeout  = 10 * time.Minute
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
	c.Few = cmp.Or(c.Few, defaultFew)
	c.Wide = cmp.Or(c.Wide, defaultWide)
	c.PollInterval = cmp.Or(c.PollInterval, defaultPollInterval)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, defaultIdleTimeout)
	c.Log = cmp.Or(c.Log, slog.Default())
	if c.NewResource == nil {
		c.NewResource = resource.New[*unstructured.Unstructured]
	}
	return c.Rules.Validate()
}

// Engine computes the status of objects that it watches. It makes no request before the
// first call of [Engine.Watch], [Engine.Wait] or a method of the
// [Engine.ClusterReader]. All callers share its watches. A watch ends when it was not
// used for [Config.Linger]. Evaluations make no request. While nothing changes, the
// only requests are those that open a watch again.
//
// For the objects of a kind, the engine uses the first of these that applies and is
// allowed:
//
//   - watch all namespaces, if they are in more than [Config.Wide] namespaces
//   - watch the namespace, if there are more than [Config.Few] in it, or for children
//   - watch each object by its name, which the resourceNames of a role can allow
//   - get each object every PollInterval
//
// It lists every PollInterval where list is allowed and watch is not. It retries
// forbidden requests slowly, and so detects a permission that is granted later.
//
// Its methods can be called from any goroutine.
type Engine struct {
	cfg    Config
	panics *usercode.Panics // of rules
	pool   *pool.Pool[scope, *unstructured.Unstructured]

	ctx     context.Context // ends with Stop
	cancel  context.CancelCauseFunc
	mu      sync.Mutex // held by begin and Stop: after Stop no goroutine is added to watches
	watches sync.WaitGroup
}

// ErrStopped is the error of calls and waits after [Engine.Stop].
var ErrStopped = errors.New("the status engine was stopped")

// New returns an engine. It fails if the configuration is invalid.
func New(cfg Config) (*Engine, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("status.New: %w", err)
	}
	e := &Engine{cfg: cfg, panics: usercode.New("status", cfg.Log)}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	if err := e.checkSources(); err != nil {
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

// checkSources starts and stops an unused source, which fails if the settings are invalid.
func (e *Engine) checkSources() error {
	var lc cell.DefaultLifecycle
	e.newSource(&lc, scope{})
	discard := slog.New(slog.DiscardHandler)
	err := lc.Start(discard, e.ctx)
	return errors.Join(err, lc.Stop(discard, e.ctx))
}

// Stop ends all watches and readers. It returns when no goroutine of the engine is
// left, or with an error when ctx ends. All of them are asked to end in any case.
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
		err = fmt.Errorf("status: a watch has not ended, perhaps since a rule does not return: %w", context.Cause(ctx))
	}
	return errors.Join(err, e.pool.Stop(ctx))
}

// begin runs run in a goroutine that Stop waits for.
func (e *Engine) begin(run func()) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return ErrStopped
	}
	e.watches.Go(run)
	return nil
}
