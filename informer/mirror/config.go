// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/pending"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// InformerConfig configures a [ResourceVersionInformer]. Handler, and one of
// ListerWatcher and Source, are required; the zero value of everything else is a
// useful default.
type InformerConfig[T any] struct {
	// ListerWatcher is what is mirrored: see [source.FromListerWatcher], and
	// [source.NewDynamicListerWatcherFactory] for many kinds on one client.
	ListerWatcher cache.ListerWatcher

	// Transform makes the T of an object as ListerWatcher gives it, and may drop
	// what the handler does not need. It is pure, and called once for each
	// version of each object, before anything is kept, but not for objects that
	// the storage has. It costs the server nothing and saves it nothing: to have
	// less sent, mirror metadata only, or use selectors. Default: the object must
	// be a T.
	Transform func(runtime.Object) (T, error)

	// SourceOptions say how ListerWatcher is read, such as [source.WithFields], which
	// leaves out fields before they are decoded. Objects are the handler's, so
	// they are read [source.WithoutSharing] in any case, and WithSharing is an error.
	SourceOptions []source.SourceOption

	// Source is an alternative to ListerWatcher, and makes its own T. If the handler
	// modifies objects it has to be one [source.WithoutSharing].
	Source informer.Source[T]

	// Handler is told what changes.
	Handler ResourceEventHandler[T]

	// Storage is what was acknowledged before: seed it with what the database
	// has. UIDs belong to that; an object that is recorded without one is shown
	// once more. Default: an empty one in memory.
	Storage ResourceVersionStorage

	// ResumeVersion is the resume version that was saved along with what the
	// storage was seeded with. The server is then asked only for what has
	// changed since: one watch, and one list only if it no longer has that
	// version. It belongs to one collection of one cluster, selectors included,
	// and to one Transform: what is recorded is not shown again because that
	// has changed. Default: begin with a list.
	ResumeVersion string

	// ResumeInterval is the least time between two calls of a
	// [ResourceVersionUpdater]. Default 1 s.
	ResumeInterval time.Duration

	// SkipSync says that the handler does not want OnSync: what a list has in
	// the recorded version then is neither decoded nor queued. It is skipped
	// without being asked for [ResourceEventHandlerFuncs] that have no SyncFunc.
	// It costs the server nothing.
	SkipSync bool

	// Workers is how many handler calls there may be at a time. Default 4.
	Workers int

	// MaxPending bounds how many objects there are between the wire and the
	// acknowledgement by the handler, beside one page of a list; MaxPendingBytes
	// how many bytes they have, but for one object of any size. (A change that
	// comes while a call for the same key is under way, or after one failed, is
	// let in all the same.) What fails takes room until it succeeds: if as many
	// keys fail as there is room for, nothing more is read until one of them
	// succeeds, since there is no telling a handler that will never take them
	// from a database that is down. [InformerStats.Failing] shows it; a handler
	// that gives up on an object returns nil, or [ErrNotKept].
	//
	// At the bound, lists wait between their pages. A watch is ended, since the
	// server does not wait for its reader; when half of what can be delivered has
	// been, the watch is resumed. That costs the server a watch each time, or a
	// list if it has forgotten the version by then. Defaults 1000 and 32 MiB.
	MaxPending      int
	MaxPendingBytes int64

	// SizeOf estimates the size of an object in memory, in bytes. Default:
	// whatever Size() says, as all types with protobuf have it; else the sizes
	// of strings, numbers, maps and slices are added up.
	SizeOf func(T) int

	// RateLimiter says after what time a key is tried again that failed. A
	// change of the object does not make that any shorter. The limiter must not
	// be shared with another informer. Default: exponential, 100 ms to 30 s.
	RateLimiter workqueue.TypedRateLimiter[store.Key]

	// ErrorHandler is told of each failure: of lists and watches, as
	// [informer.ErrorObserver] does, and of [informer.HandlerError]s, by the workers and so several
	// at a time. Default: [informer.DefaultWatchErrorHandler], which logs; whoever has an
	// Observer that logs needs it for HandlerErrors only.
	ErrorHandler informer.WatchErrorHandler

	// Observer is told what happens. Optional.
	Observer informer.Observer

	// Log gets panics, of each function one a minute: see [informer.Config.Log].
	// Default: slog.Default().
	Log *slog.Logger

	// ExtraStore is a second sink, which is told everything before it is queued,
	// whole passes included, and which must not block. It is shown unchanged
	// objects as well, so every pass is decoded whole. An error of it is one of
	// the sink: the object is not queued, and is offered again. (At Commit the
	// deletions that the list implies are queued before it is told.) A store of
	// client-go, or what has the methods of [clientgo.ExtraStore], becomes one by
	// [clientgo.StoreSink]. It costs the server nothing. The handler must not modify what
	// such a store has as well. Optional.
	ExtraStore store.Sink[T]

	// Settings tune the reading. What differs for a mirror:
	//
	//   - Lists: the default is the same as [informer.ListPaged]. A handler can then take
	//     as long as it likes. The server reads pages from etcd, except version 1.31 and
	//     later for the first page and 1.34 and later for all of them.
	//     [informer.ListStreamed] costs the server least, and the server breaks a stream
	//     off if the handler is slow.
	//   - ListBudget: the default is [informer.ProcessListBudget]. A program that mirrors
	//     many clusters needs one for each of them: a server that does not answer delays
	//     those that share its budget.
	//   - Each pass brings OnSync for everything that has not changed, unless SkipSync is
	//     set: those of PollInterval, CheckInterval and ResyncInterval as well.
	informer.Settings
}

// Defaults of InformerConfig.
const (
	defaultWorkers         = 4
	defaultMaxPending      = 1000
	defaultMaxPendingBytes = 32 << 20
	defaultResumeInterval  = time.Second
	defaultRetryFirst      = 100 * time.Millisecond
	defaultRetryMost       = 30 * time.Second
)

// validate checks what is set.
func (c *InformerConfig[T]) validate() error {
	switch {
	case check.IsNil(c.Handler):
		return errors.New("InformerConfig.Handler is nil: give what is to be told, for example ResourceEventHandlerFuncs")
	case check.IsNil(c.Source) && check.IsNil(c.ListerWatcher):
		return errors.New("InformerConfig.ListerWatcher and Source are nil: give what is to be mirrored")
	case !check.IsNil(c.Source) && !check.IsNil(c.ListerWatcher):
		return errors.New("InformerConfig.ListerWatcher and Source are both set: give one of them")
	case !check.IsNil(c.Source) && c.Transform != nil:
		return errors.New("InformerConfig.Transform is for a ListerWatcher: a Source makes its own objects")
	case !check.IsNil(c.Source) && len(c.SourceOptions) > 0:
		return errors.New("InformerConfig.SourceOptions are for a ListerWatcher: give them to what makes the Source")
	}
	if err := check.Validate(c.Handler); err != nil {
		return fmt.Errorf("InformerConfig.Handler: %w", err)
	}
	if err := check.Validate(c.ExtraStore); err != nil {
		return fmt.Errorf("InformerConfig.ExtraStore: %w", err)
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"Workers", int64(c.Workers)},
		{"MaxPending", int64(c.MaxPending)},
		{"MaxPendingBytes", c.MaxPendingBytes},
		{"ResumeInterval", int64(c.ResumeInterval)},
	} {
		if n.value < 0 {
			return fmt.Errorf("InformerConfig.%s is negative: give a positive value, or 0 for the default", n.name)
		}
	}
	return nil
}

// complete checks the configuration and fills in the defaults.
func (c *InformerConfig[T]) complete() error {
	if err := c.validate(); err != nil {
		return err
	}
	if check.IsNil(c.Source) {
		c.Source = source.FromListerWatcher(c.ListerWatcher, c.Transform, append(slices.Clip(c.SourceOptions), source.WithoutSharing())...)
	}
	if check.IsNil(c.Storage) {
		c.Storage = NewResourceVersionStorage()
	}
	c.Workers = cmp.Or(c.Workers, defaultWorkers)
	c.MaxPending = cmp.Or(c.MaxPending, defaultMaxPending)
	c.MaxPendingBytes = cmp.Or(c.MaxPendingBytes, defaultMaxPendingBytes)
	c.ResumeInterval = cmp.Or(c.ResumeInterval, defaultResumeInterval)
	if c.SizeOf == nil {
		c.SizeOf = pending.SizeOf[T]
	}
	if check.IsNil(c.RateLimiter) {
		c.RateLimiter = workqueue.NewTypedItemExponentialFailureRateLimiter[store.Key](defaultRetryFirst, defaultRetryMost)
	}
	if c.ErrorHandler == nil {
		c.ErrorHandler = informer.DefaultWatchErrorHandler
	}
	if c.ListBudget == nil {
		c.ListBudget = informer.ProcessListBudget()
	}
	if s, ok := c.Handler.(interface{ skipsSync() bool }); ok && s.skipsSync() {
		c.SkipSync = true
	}
	return nil
}
