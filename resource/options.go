// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package resource

import (
	"fmt"
	"log/slog"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/store"
)

// Option configures a [Resource] when it is made. Nil options are skipped.
type Option func(*options)

type options struct {
	name      string
	indexers  cache.Indexers
	metrics   workqueue.MetricsProvider
	convert   any // func(runtime.Object) (T, error)
	observer  informer.Observer
	settings  informer.Settings
	source    []source.SourceOption
	forgotten func(ForgottenDone)
	log       *slog.Logger
	err       error
}

// WithName names the resource in errors, logs, health and metrics. Default, also
// if the name is empty: the type of the objects, such as "v1.Pod".
func WithName(name string) Option {
	return func(o *options) { o.name = name }
}

// WithIndexers adds indexes to the store. The functions get the objects as the
// store holds them. One that fails or panics leaves the object out of that index,
// which is reported to the logger and counted in [Stats].
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

// WithTransform keeps To in place of the From that the server sends. The function
// is called once for each version of each object, before anything is kept, and
// must be pure; it may modify and return what it is given, but not with
// source.WithSharing in [WithSourceOptions]: then that is in part other objects' as
// well, and nothing detects that it was modified. If it fails, the
// object is left out: see "Objects that cannot be decoded" in the documentation of
// package informer. source.WithStrictDecoding makes the list or the watch fail.
//
// To must be the type of the resource. A mismatch fails the start hook.
func WithTransform[From, To runtime.Object](transform func(From) (To, error)) Option {
	return func(o *options) {
		if transform == nil {
			return
		}
		o.convert = func(obj runtime.Object) (To, error) {
			from, ok := obj.(From)
			if !ok {
				var to To
				return to, fmt.Errorf("transform wants %T, the source gave %T", from, obj)
			}
			return transform(from)
		}
	}
}

// WithMetricsProvider gives each subscriber's queue the metrics of a client-go
// workqueue, under the name of the resource. Subscribers share what the provider
// gives for a name: counters and depth add up, the gauges of unfinished work are
// those of the last subscriber that set them. The provider is called by Events and
// Observe, and each metric by the goroutine of its subscriber, which may be later by
// half a second than what it tells. Default: none. See [Stats] for a view that needs no
// provider.
func WithMetricsProvider(provider workqueue.MetricsProvider) Option {
	return func(o *options) { o.metrics = provider }
}

// WithObserver adds an observer of the informer. It can be given more than once.
func WithObserver(observer informer.Observer) Option {
	return func(o *options) {
		if observer != nil {
			o.observer = informer.Observers(o.observer, observer)
		}
	}
}

// WithForgottenDone replaces the panic about an event that was dropped without
// Done by a call of report. The key is freed as by Done(nil). The report is
// called from a goroutine of the garbage collector and must not block. A panic of it
// does not end the process.
func WithForgottenDone(report func(ForgottenDone)) Option {
	return func(o *options) { o.forgotten = report }
}

// WithLogger sets the logger of failures that no caller gets: index functions that
// fail, and panics of user code. Default: slog.Default().
func WithLogger(log *slog.Logger) Option {
	return func(o *options) { o.log = log }
}

// WithSettings tunes the informer. A second call replaces the settings of the first as
// a whole. Default: that of each field, and for ListBudget [informer.ProcessListBudget],
// which mirrors and batchers share. A first list waits for its turn only. Later ones,
// which many resources may need at the same moment, begin at random moments within the
// jitter of the budget. For no bound, give a budget of [informer.NewListBudget] with a
// large number.
func WithSettings(settings informer.Settings) Option {
	return func(o *options) { o.settings = settings }
}

// EventsOpt configures a subscription. Nil options are skipped.
type EventsOpt func(*eventsOpts)

type eventsOpts struct {
	rateLimiter  workqueue.TypedRateLimiter[store.Key]
	errorHandler ErrorHandler
}

// WithRateLimiter sets how long keys are held back that failed and are retried.
// Sync has the zero Key. A limiter should not be shared between subscribers.
// Default: workqueue.DefaultTypedControllerRateLimiter.
func WithRateLimiter(limiter workqueue.TypedRateLimiter[store.Key]) EventsOpt {
	return func(o *eventsOpts) {
		if limiter != nil {
			o.rateLimiter = limiter
		}
	}
}

// WithErrorHandler sets what is done about failed events. Default: [AlwaysRetry].
func WithErrorHandler(handler ErrorHandler) EventsOpt {
	return func(o *eventsOpts) {
		if handler != nil {
			o.errorHandler = handler
		}
	}
}

// WithSourceOptions says how objects are read: see [source.WithFields], which leaves
// fields out of them, [source.WithoutSharing], [source.WithObjectLimit] and
// [source.WithStrictDecoding]. With a
// transform, [source.WithObjectType] has what source.NewListWatchFromClient returns
// read as a stream, and [source.WithSharing] has what it returns share parts. They do
// not apply to [NewFromSource].
func WithSourceOptions(opts ...source.SourceOption) Option {
	return func(o *options) { o.source = append(o.source, opts...) }
}
