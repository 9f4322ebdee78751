// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// Option configures a new [Resource]. Nil options are skipped.
type Option func(*options)

type options struct {
	name      string
	indexers  cache.Indexers
	metrics   workqueue.MetricsProvider
	convert   any // func(runtime.Object) (T, error)
	onChange  any // func(store.Change[T])
	observer  informer.Observer
	settings  informer.Settings
	source    []source.SourceOption
	forgotten func(ForgottenDone)
	unused    time.Duration // of WithStopUnused; 0: it is not stopped
	log       *slog.Logger
	err       error
}

// WithName names the resource in errors, logs, health and metrics. Default, also for
// an empty name: the type of the objects, such as "v1.Pod". Packages cells and
// resourcetest name a resource by its kind, such as "Pod.v1" or "Deployment.v1.apps".
func WithName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithIndexers adds indexes to the store. The functions get the objects of the store,
// after any transform. If a function fails or panics, the object is missing from that
// index. The failure is logged and counted in [Stats].
func WithIndexers(indexers cache.Indexers) Option {
	return func(o *options) {
		if o.indexers == nil {
			o.indexers = cache.Indexers{}
		}
		for name, index := range indexers {
			o.indexers[name] = index
		}
	}
}

// WithTransform stores a To in place of each From of the server. To must be the type of
// the resource; with another type the start hook fails.
//
// The function is called once for each version of each object, before the object is
// stored. It must be pure. It can modify and return its argument, except with
// source.WithSharing in [WithSourceOptions]: other objects then share parts of the
// argument, and nothing detects the modification.
//
// If it fails, the object is left out: see "Objects that cannot be decoded" in package
// informer. With source.WithStrictDecoding, the list or the watch fails instead.
func WithTransform[From, To runtime.Object](transform func(From) (To, error)) Option {
	return func(o *options) {
		if transform == nil {
			return
		}
		o.convert = func(obj runtime.Object) (To, error) {
			from, ok := obj.(From)
			if !ok {
				var to To
				return to, fmt.Errorf("the transform takes %T, the source returned %T", from, obj)
			}
			return transform(from)
		}
	}
}

// WithMetricsProvider gives the queue of each subscriber the metrics of a client-go
// workqueue, under the name of the resource. Default: none. [Stats] needs no provider.
//
// If the provider returns one metric for a name, subscribers share it: counters and depth
// add up, and the gauges of unfinished work are those of the last subscriber that set
// them. Events and Observe call the provider. The goroutine of the subscriber calls the
// metrics, up to half a second after the change.
func WithMetricsProvider(provider workqueue.MetricsProvider) Option {
	return func(o *options) { o.metrics = provider }
}

// WithObserver adds an observer of the informer. Several observers add up.
func WithObserver(observer informer.Observer) Option {
	return func(o *options) {
		if observer != nil {
			o.observer = informer.Observers(o.observer, observer)
		}
	}
}

// WithOnChange calls f with each change of the store, in order. Changes are not merged,
// as those of Events are. The store shows the change already, and no subscriber has got
// its event. The Record of the change is nil.
//
// f runs on the goroutine of the informer, which waits for it: f must not block. The
// change is lost to f if f panics. T must be the type of the resource. A mismatch fails
// the start hook.
func WithOnChange[T runtime.Object](f func(store.Change[T])) Option {
	return func(o *options) {
		if f != nil {
			o.onChange = f
		}
	}
}

// WithForgottenDone calls report for an event that was dropped without Done, instead of
// the panic that ends the process. The key continues as after Done(nil). A goroutine of
// the garbage collector calls report, so report must not block. If report panics, the
// process does not end.
func WithForgottenDone(report func(ForgottenDone)) Option {
	return func(o *options) { o.forgotten = report }
}

// WithLogger sets the logger for failures that no caller gets: failed index functions,
// and panics of user code. Default: slog.Default().
func WithLogger(log *slog.Logger) Option {
	return func(o *options) { o.log = log }
}

// WithSettings tunes the informer. A second call replaces all settings of the first.
// Default: the default of each field, and for ListBudget [informer.ProcessListBudget],
// which mirrors and batchers share. The first list waits only for a free slot of the
// budget. Later lists, which many resources can need at the same moment, also begin at
// random moments within its jitter. For no limit, set a budget of
// [informer.NewListBudget] with a large number.
func WithSettings(settings informer.Settings) Option {
	return func(o *options) { o.settings = settings }
}

// EventsOpt configures a subscription. Nil options are skipped.
type EventsOpt func(*eventsOpts)

type eventsOpts struct {
	name         string
	rateLimiter  workqueue.TypedRateLimiter[store.Key]
	errorHandler ErrorHandler
	order        Order
	old          bool
}

// WithRateLimiter sets the delays of keys that are retried. Sync has the zero Key.
// Subscribers should not share a limiter.
// Default: workqueue.DefaultTypedControllerRateLimiter.
func WithRateLimiter(limiter workqueue.TypedRateLimiter[store.Key]) EventsOpt {
	return func(o *eventsOpts) {
		if limiter != nil {
			o.rateLimiter = limiter
		}
	}
}

// WithSubscriberName names the subscription in logs, health and [SubscriberStats]. Default:
// the file and line of the call of Events.
func WithSubscriberName(name string) EventsOpt {
	return func(o *eventsOpts) { o.name = name }
}

// WithOld sets [Event].Old. It costs the memory of the old version of each object whose event
// waits or is outstanding.
func WithOld() EventsOpt {
	return func(o *eventsOpts) { o.old = true }
}

// WithErrorHandler sets the handler of failed events. Default: [AlwaysRetry].
func WithErrorHandler(handler ErrorHandler) EventsOpt {
	return func(o *eventsOpts) {
		if handler != nil {
			o.errorHandler = handler
		}
	}
}

// WithSourceOptions sets how objects are read: see [source.WithFields] for a projection,
// [source.WithoutSharing], [source.WithObjectLimit] and [source.WithStrictDecoding]. For
// resources with a transform there are also [source.WithObjectType], which reads the
// responses of a source.NewListWatchFromClient as streams, and [source.WithSharing], which
// interns what the transform gets. [NewFromSource] fails with this option.
func WithSourceOptions(opts ...source.SourceOption) Option {
	return func(o *options) { o.source = append(o.source, opts...) }
}
