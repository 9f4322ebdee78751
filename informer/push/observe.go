// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package push

import (
	"time"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/store"
)

// observed passes failures of the consumer to the observer of a Batcher. The caller of its
// methods has the turn of the merger.
type observed struct {
	report        func(informer.ReflectorEvent) // nil: there is no observer
	retried, dead check.Thinner
}

// failed reports a failure: one of so many in a row since a time.
func (o *observed) failed(key store.Key, call string, failures int, since time.Time, next time.Duration, err error) {
	o.thinned(&o.retried, informer.ConsumerFailed{Consumer: informer.Consumer{Key: key}, Change: call, Action: informer.ActionRetry,
		Retries: failures - 1, Since: since, Next: next, Err: err})
}

// deadLetter reports an object that is no longer retried.
func (o *observed) deadLetter(key store.Key, call string, tries int, since time.Time, err error) {
	o.thinned(&o.dead, informer.ConsumerFailed{Consumer: informer.Consumer{Key: key}, Change: call, Action: informer.ActionDeadLetter,
		Retries: tries - 1, Since: since, Err: err})
}

func (o *observed) thinned(thin *check.Thinner, e informer.ConsumerFailed) {
	if o.report == nil {
		return
	}
	shown, omitted := thin.Shown(time.Now())
	e.Quiet, e.Omitted = !shown, omitted
	o.report(e)
}

// recovered reports the end of failures. The zero Key stands for whole batches.
func (o *observed) recovered(key store.Key, failures int, since time.Time) {
	if o.report != nil {
		o.report(informer.ConsumerRecovered{Consumer: informer.Consumer{Key: key}, Retries: failures, After: time.Since(since)})
	}
}
