// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"maps"
	"time"

	"github.com/apiary-go/apiary/informer"
)

// DegradedAfter sets when health is Degraded because a consumer fails: when a change was
// retried so often, or when its first failure is so long ago, whichever is first. A dead
// letter of a push counts at once. Health is OK again when no such change is left. The
// consumer is a subscriber of a resource, the handler of a mirror, or the consumer of a
// push. Time is looked at when a retry fails.
//
// Default: 10 retries, which is 5 seconds with the default delays of a resource, or a
// minute. 0 is the default of each, and less than 0 is no limit.
func DegradedAfter(retries int, age time.Duration) Option {
	return func(o *options) { o.limits = consumerLimits{retries, age} }
}

// consumerLimits are what [DegradedAfter] sets.
type consumerLimits struct {
	retries int
	age     time.Duration
}

const (
	defaultDegradedRetries = 10
	defaultDegradedAge     = time.Minute
)

// isOver returns true if a failure must be reported.
func (l consumerLimits) isOver(o informer.ConsumerFailed) bool {
	if l.retries == 0 {
		l.retries = defaultDegradedRetries
	}
	if l.age == 0 {
		l.age = defaultDegradedAge
	}
	switch o.Action {
	case informer.ActionDeadLetter:
		return true
	case informer.ActionRetry:
		return l.retries > 0 && o.Retries >= l.retries || l.age > 0 && time.Since(o.Since) >= l.age
	}
	return false
}

// failingConsumers are the changes that are over the limits.
type failingConsumers struct {
	limits consumerLimits
	all    failedChanges
	shown  informer.Consumer // one of them, for as long as it fails
}

// failedChanges are changes that fail, with the last failure of each.
type failedChanges map[informer.Consumer]informer.ConsumerFailed

// observe handles a failure of a consumer, or its end. A failure counts if isIn returns
// true. observe returns false for other events.
func (f *failedChanges) observe(o informer.ReflectorEvent, isIn func(informer.ConsumerFailed) bool) bool {
	switch o := o.(type) {
	case informer.ConsumerFailed:
		switch {
		case isIn(o):
			if *f == nil {
				*f = failedChanges{}
			}
			(*f)[o.Consumer] = o
		case o.Action != informer.ActionRetry:
			delete(*f, o.Consumer)
		}
	case informer.ConsumerRecovered:
		delete(*f, o.Consumer)
	case informer.ConsumerEnded:
		maps.DeleteFunc(*f, func(c informer.Consumer, _ informer.ConsumerFailed) bool { return c.ID == o.ID })
	default:
		return false
	}
	return true
}

// isRetried reports whether the change comes again by itself.
func isRetried(o informer.ConsumerFailed) bool { return o.Action == informer.ActionRetry }

// problem describes the failures for health. It is empty if there are none.
func (f *failingConsumers) problem() (text string, err error) {
	if len(f.all) == 0 {
		return "", nil
	}
	o, ok := f.all[f.shown]
	if !ok {
		for f.shown, o = range f.all {
			break
		}
	}
	text = "the consumer fails"
	if o.Subscriber != "" {
		text = "subscriber " + o.Subscriber + " fails"
	}
	if o.Key.Name != "" {
		text += " on " + o.Key.String()
	}
	text += " since " + o.Since.UTC().Format("15:04:05 UTC")
	if o.Action == informer.ActionDeadLetter {
		text += ", a dead letter"
	}
	if n := len(f.all) - 1; n > 0 {
		text += " and " + others(n)
	}
	return text, o.Err
}

// others is without a number: health would change with each failure.
func others(n int) string {
	if n == 1 {
		return "another"
	}
	return "others"
}
