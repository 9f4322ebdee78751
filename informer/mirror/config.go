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

// InformerConfig configures a [ResourceVersionInformer]. Handler, and one of ListerWatcher
// and Source, are required. The other fields have defaults.
type InformerConfig[T any] struct {
	// ListerWatcher lists and watches the collection, see [source.FromListerWatcher].
	// [source.NewDynamicListerWatcherFactory] serves many kinds with one client.
	ListerWatcher cache.ListerWatcher

	// Transform converts an object of ListerWatcher to a T, and can drop what the handler
	// does not need. It must be pure. It is called once for each object that is read and
	// not skipped, see SkipSync, before the object is queued. The server sends as much as
	// without it: to reduce that, use selectors or mirror only metadata. An error leaves
	// the object out, see package informer. Default: the object must be a T.
	Transform func(runtime.Object) (T, error)

	// SourceOptions apply to ListerWatcher. For example, [source.WithFields] leaves out
	// fields before they are decoded; in a hive, cells.Fields is the same.
	// [source.WithoutSharing] is always set, since the handler owns its objects;
	// [source.WithSharing] is an error.
	SourceOptions []source.SourceOption

	// Source is an alternative to ListerWatcher, and converts objects to T by itself. It
	// must be [source.WithoutSharing] if the handler modifies objects.
	Source informer.Source[T]

	// Handler receives the changes.
	Handler ResourceEventHandler[T]

	// Storage records which objects were acknowledged. Seed it from the database, UIDs
	// included: an object that is recorded without a UID is shown once more. Default: an
	// empty storage in memory.
	Storage ResourceVersionStorage

	// ResumeVersion is the resume version that was saved with the rows that seeded
	// Storage. The informer then begins with a watch from that version, and lists only
	// if the server no longer has it. The version is valid only for the same cluster,
	// collection, selectors and Transform. After a change of these, start without it.
	// To write all rows anew, also leave SkipSync unset and write the row in OnSync
	// (SyncFunc): the first list then calls it for each unchanged object.
	// Default: begin with a list.
	ResumeVersion string

	// ResumeInterval is the minimum time between two calls of a
	// [ResourceVersionUpdater]. Default: 1s.
	ResumeInterval time.Duration

	// SkipSync disables OnSync: objects that a list has in the recorded version are then
	// neither decoded nor queued. With ExtraStore they are decoded, but not queued.
	// A [ResourceEventHandlerFuncs] without a SyncFunc implies it. A type that embeds
	// one, and a [FilteringResourceEventHandler], do not: they have an OnSync of their
	// own. The server sends the objects in any case.
	SkipSync bool

	// Workers is the maximum number of handler calls at a time. Default: 4.
	Workers int

	// MaxPending bounds the number of objects that were read and not yet acknowledged,
	// beside one page of a list. MaxPendingBytes bounds their estimated bytes; a single
	// object can be larger. Changes of a key that is in a call or has failed are always
	// accepted.
	//
	// At the bound, a list waits between its pages. A watch ends, since the server does
	// not wait for its reader, and is resumed when half of what can be delivered has been.
	// That costs the server one watch, or a list if the version has expired by then.
	//
	// Failed keys count against the bound. When MaxPending keys are failing, reading stops
	// until one succeeds, since the database may be down: see [InformerStats.Failing]. A
	// handler that gives up on an object returns nil or [ErrNotKept].
	//
	// Defaults: 1000 and 32 MiB.
	MaxPending      int
	MaxPendingBytes int64

	// SizeOf estimates the bytes that an object takes in memory. Default: its Size
	// method, which types with protobuf have, or the sum of its strings, numbers,
	// maps and slices.
	SizeOf func(T) int

	// RateLimiter returns the delay before a failed key is retried. A change of the
	// object does not shorten the delay. Other informers must not share the limiter.
	// Default: exponential, 100ms to 30s.
	RateLimiter workqueue.TypedRateLimiter[store.Key]

	// ErrorHandler receives the failures of lists and watches, as from
	// [informer.ErrorObserver], and each [informer.HandlerError]. The workers call it
	// too, several at a time. Default: [informer.DefaultWatchErrorHandler], which logs.
	// An Observer gets all of them as well. One that logs makes the default superfluous: set
	// a function that does nothing.
	ErrorHandler informer.WatchErrorHandler

	// Observer receives what the reflector does, and the failures of the handler. Optional.
	Observer informer.Observer

	// Log gets panics, one a minute for each function: see [informer.Config.Log].
	// Default: slog.Default().
	Log *slog.Logger

	// ExtraStore is a second sink. It receives every call before the change is queued,
	// unchanged objects and whole passes included; each pass is therefore decoded whole.
	// It must not block. If it fails, the object is not queued, and is offered again. At
	// Commit, the deletions that a list implies are queued first. The handler must not
	// modify objects that ExtraStore keeps. The server gets no further requests.
	// [clientgo.StoreSink] makes a sink of a client-go store or a [clientgo.ExtraStore].
	// Optional.
	ExtraStore store.Sink[T]

	// Settings tune the reading. For a mirror:
	//
	//   - Lists: the default is [informer.ListPaged], so that the handler can be slow. The
	//     server reads pages from etcd, except version 1.31 and later for the first page
	//     and 1.34 and later for all of them. [informer.ListStreamed] costs the server
	//     least, but the server ends the stream if the handler is slow.
	//   - ListBudget: the default is [informer.ProcessListBudget]. A program that mirrors
	//     many clusters needs one budget for each: a server that does not answer delays
	//     the others in its budget.
	//   - PollInterval, CheckInterval and ResyncInterval: each pass calls OnSync for all
	//     unchanged objects, unless they are skipped (SkipSync).
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

// validate checks the fields that are set.
func (c *InformerConfig[T]) validate() error {
	switch {
	case check.IsNil(c.Handler):
		return errors.New("InformerConfig.Handler is nil: give a handler, for example ResourceEventHandlerFuncs")
	case check.IsNil(c.Source) && check.IsNil(c.ListerWatcher):
		return errors.New("InformerConfig.ListerWatcher and Source are nil: give one of them")
	case !check.IsNil(c.Source) && !check.IsNil(c.ListerWatcher):
		return errors.New("InformerConfig.ListerWatcher and Source are both set: give one of them")
	case !check.IsNil(c.Source) && c.Transform != nil:
		return errors.New("InformerConfig.Transform is for a ListerWatcher, and Source is set: convert the objects in the Source")
	case !check.IsNil(c.Source) && len(c.SourceOptions) > 0:
		return errors.New("InformerConfig.SourceOptions are for a ListerWatcher, and Source is set: give the options to the constructor of the Source")
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
	// Not by a method: a type that embeds the functions would inherit it.
	switch h := any(c.Handler).(type) {
	case ResourceEventHandlerFuncs[T]:
		c.SkipSync = c.SkipSync || h.SyncFunc == nil
	case *ResourceEventHandlerFuncs[T]:
		c.SkipSync = c.SkipSync || h.SyncFunc == nil
	}
	return nil
}
