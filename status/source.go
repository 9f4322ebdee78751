// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cilium/hive/cell"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/store"
)

// ownerIndex finds objects by the UID of their controller.
const ownerIndex = "owner"

// collection is the source of a scope, with its health. All watches of the engine that
// use the scope share it.
type collection struct {
	resource.Resource[*unstructured.Unstructured]
	health *health
	reader *scopeReader
}

// newSource returns the source of a scope.
func (e *Engine) newSource(lc cell.Lifecycle, s scope) resource.Resource[*unstructured.Unstructured] {
	health := &health{}
	settings := informer.Settings{PollInterval: e.cfg.PollInterval, Backoff: e.cfg.Backoff, ListBudget: e.cfg.ListBudget}
	if s.get {
		settings.Lists = informer.ListPaged
	}
	reader := &scopeReader{Engine: e, scope: s}
	return collection{health: health, reader: reader, Resource: e.cfg.NewResource(lc, reader,
		// An object that is left out would have the status of one that is missing.
		resource.WithSourceOptions(s.sharing(), source.WithStrictDecoding()),
		resource.WithSourceOptions(reader.mask()...),
		resource.WithName(s.String()),
		resource.WithLogger(e.cfg.Log),
		resource.WithTransform(reader.trim),
		resource.WithIndexers(cache.Indexers{ownerIndex: indexByOwner}),
		resource.WithOnChange(health.received),
		resource.WithObserver(informer.ObserverFunc(health.observe)),
		resource.WithObserver(e.cfg.Observer),
		resource.WithSettings(settings))}
}

// sharing enables interning for a scope of many objects, which is possible because trim
// modifies nothing. For one object the tables take more memory than they save.
func (s scope) sharing() source.SourceOption {
	if s.name != "" {
		return source.WithoutSharing()
	}
	return source.WithSharing()
}

// mask returns the option that leaves out of a stream the fields that trim removes.
func (r *scopeReader) mask() []source.SourceOption {
	names, masked := r.cfg.Rules.trimMask(r.scope.kind)
	switch {
	case !r.streams() || !masked:
		return nil
	case r.metadataOnly():
		names = trimBelow("metadata", trimMetadata)
	}
	return []source.SourceOption{source.WithFields(names...)}
}

// trim converts an object from the server to the object that is kept.
func (r *scopeReader) trim(obj runtime.Object) (*unstructured.Unstructured, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return nil, fmt.Errorf("reading a %T: %w", obj, redact.Error(err))
		}
		u = &unstructured.Unstructured{Object: content}
		r.mu.Lock()
		u.SetGroupVersionKind(r.mapping.GroupVersionKind) // metadata has the kind PartialObjectMetadata
		r.mu.Unlock()
	}
	r.cfg.Rules.Trim(u)
	return u, nil
}

func indexByOwner(obj any) ([]string, error) {
	if owner := metav1.GetControllerOf(obj.(*unstructured.Unstructured)); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return nil, nil
}

// health holds the trouble of an informer with the server, if there is one.
type health struct {
	mu        sync.Mutex
	trouble   trouble // the newest; since is that of the first in a row
	epoch     int     // counts the occurrences that begin or end a trouble
	listeners map[*lease]listener
	calls     []listener // all listeners; nil after one has come or gone
}

// listener gets what happens to a source. No lock is held.
type listener struct {
	changed  func()                                         // the trouble has changed
	received func(store.Change[*unstructured.Unstructured]) // can be nil
}

// trouble is a failure that lasts.
type trouble struct {
	cause informer.Cause // CauseNone: there is no trouble
	err   error
	since time.Time
}

// denied reports whether the trouble is of this way of reading, and another can be allowed.
func (t trouble) denied() bool { return denied(t.cause) }

// denied reports whether another way of reading can be allowed. It cannot if the server
// rejects the credentials.
func denied(cause informer.Cause) bool {
	return cause == informer.CauseForbidden || cause == informer.CauseNotSupported
}

// reason returns the Reason of a status that is Unknown because of the trouble.
func (t trouble) reason() Reason {
	missing := errNamespaceMissing{}
	switch {
	case errors.As(t.err, &missing):
		return InvalidID
	case t.cause == informer.CauseNone:
		return NotObserved
	case t.denied():
		return Forbidden
	case t.cause == informer.CauseNotInstalled:
		return KindNotInstalled
	}
	return Transient
}

// observe implements informer.Observer.
func (c *health) observe(_ informer.ReflectorInfo, occurrence informer.ReflectorEvent) {
	switch o := occurrence.(type) {
	case informer.ListDone, informer.Polling:
		c.set(trouble{})
	case informer.WatchOpened:
		c.opened()
	case informer.WatchEnded:
		c.nextEpoch()
	case informer.ListFailed:
		// A refused stream is followed by a list at once. After a refused list, another
		// way of reading need not wait for the backoff.
		if !o.Streamed && denied(o.Cause) {
			c.failed(o.Cause, o.Err)
		}
	case informer.BackingOff:
		if !denied(o.Cause) { // a list or Polling follows if it is
			c.failed(o.Cause, o.Err)
		}
	}
}

func (c *health) failed(cause informer.Cause, err error) {
	switch cause {
	case informer.CauseNone, informer.CauseCanceled, informer.CauseClosed, informer.CauseExpired:
		return // the informer recovers at once
	}
	c.set(trouble{cause: cause, err: err, since: time.Now()})
}

// catchUp is how long a resumed watch takes to bring missed changes. No event marks their
// end.
const catchUp = time.Second

// opened ends the trouble after catchUp, if the watch is still open then. Until then the
// store can be as old as the trouble.
func (c *health) opened() {
	epoch := c.nextEpoch()
	if c.now().cause != informer.CauseNone {
		time.AfterFunc(catchUp, func() { c.setIn(epoch, trouble{}) })
	}
}

// nextEpoch begins an epoch, in which a watch opened before does not end the trouble.
func (c *health) nextEpoch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	return c.epoch
}

// set sets the trouble, and calls the listeners if it has changed.
func (c *health) set(t trouble) { c.setIn(c.nextEpoch(), t) }

// setIn sets the trouble, unless another epoch has begun.
func (c *health) setIn(epoch int, t trouble) {
	c.mu.Lock()
	same := c.epoch != epoch || c.trouble.cause == t.cause && gist(c.trouble.err) == gist(t.err)
	if !same {
		if t.cause != informer.CauseNone && c.trouble.cause != informer.CauseNone {
			t.since = c.trouble.since
		}
		c.trouble = t
	}
	listeners := c.all()
	c.mu.Unlock()
	if same {
		return
	}
	for _, l := range listeners {
		l.changed()
	}
}

// received hands a change of the store to the listeners.
func (c *health) received(change store.Change[*unstructured.Unstructured]) {
	c.mu.Lock()
	listeners := c.all()
	c.mu.Unlock()
	for _, l := range listeners {
		if l.received != nil {
			l.received(change)
		}
	}
}

// all returns the listeners. The caller holds the mutex.
func (c *health) all() []listener {
	if c.calls == nil {
		c.calls = slices.Collect(maps.Values(c.listeners))
	}
	return c.calls
}

func (c *health) now() trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

func (c *health) listen(l *lease, how listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners == nil {
		c.listeners = map[*lease]listener{}
	}
	c.listeners[l] = how
	c.calls = nil
}

func (c *health) unlisten(l *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listeners, l)
	c.calls = nil
}

// gist returns the part of an error that is the same for a list and for a watch: the
// cause, without the request and its URL.
func gist(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err
	}
	return check.Gist(err)
}
