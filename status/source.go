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
)

// ownerIndex finds objects by the UID of their controller.
const ownerIndex = "owner"

// collection is what a scope holds, and how reading it goes. All watches of the engine
// that use the scope share it.
type collection struct {
	resource.Resource[*unstructured.Unstructured]
	contact *contact
	reader  *scopeReader
}

// newSource makes the source of a scope.
func (e *Engine) newSource(lc cell.Lifecycle, s scope) resource.Resource[*unstructured.Unstructured] {
	contact := &contact{}
	settings := resource.Settings{PollInterval: e.cfg.PollInterval, Backoff: e.cfg.Backoff, ListBudget: e.cfg.ListBudget}
	if s.get {
		settings.Lists = informer.ListPaged
	}
	reader := &scopeReader{Engine: e, scope: s}
	return collection{contact: contact, reader: reader, Resource: resource.New[*unstructured.Unstructured](lc, reader,
		// An object that is left out would have the status of one that is missing.
		resource.WithSourceOptions(s.sharing(), source.WithStrictDecoding()),
		resource.WithSourceOptions(reader.mask()...),
		resource.WithName(s.String()),
		resource.WithLogger(e.cfg.Log),
		resource.WithTransform(reader.trim),
		resource.WithIndexers(cache.Indexers{ownerIndex: indexByOwner}),
		resource.WithObserver(informer.ObserverFunc(contact.observe)),
		resource.WithObserver(e.cfg.Observer),
		resource.WithSettings(settings))}
}

// sharing is for many objects, as trim modifies nothing: for one the tables of what is
// shared would take more than it does.
func (s scope) sharing() source.SourceOption {
	if s.name != "" {
		return source.WithoutSharing()
	}
	return source.WithSharing()
}

// mask has what trim takes be left out on the way, where it is read as a stream.
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

// trim makes what is kept of what the server sent.
func (r *scopeReader) trim(obj runtime.Object) (*unstructured.Unstructured, error) {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return nil, fmt.Errorf("reading a %T: %w", obj, redact.Error(err))
		}
		u = &unstructured.Unstructured{Object: content}
		r.mu.Lock()
		u.SetGroupVersionKind(r.mapping.GroupVersionKind) // it says what metadata is served as
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

// contact is what is wrong between an informer and the server, if anything is.
type contact struct {
	mu        sync.Mutex
	trouble   trouble // the newest, since the first in a row
	turn      int     // counts what decides on the end of the trouble
	listeners map[*lease]func()
}

// trouble is a failure that lasts.
type trouble struct {
	cause informer.Cause // none: there is no trouble
	err   error
	since time.Time
}

// denied reports whether it is of this way of reading, and another one may be allowed.
func (t trouble) denied() bool { return denied(t.cause) }

// denied is so for what an informer polls for, if it is but the watch that is refused.
// Who is not known to the server is not let in by any way.
func denied(cause informer.Cause) bool {
	return cause == informer.CauseForbidden || cause == informer.CauseNotSupported
}

// reason is the reason of a status that cannot be told because of it.
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
func (c *contact) observe(_ informer.ReflectorInfo, occurrence informer.Occurrence) {
	switch o := occurrence.(type) {
	case informer.ListDone, informer.Polling:
		c.set(trouble{})
	case informer.WatchOpened:
		c.opened()
	case informer.WatchEnded:
		c.next()
	case informer.ListFailed:
		// What may not be watched, initial events included, may still be listed, and
		// is, at once. Another way of reading need not wait for the backoff.
		if !o.Streamed && denied(o.Cause) {
			c.failed(o.Cause, o.Err)
		}
	case informer.BackingOff:
		if !denied(o.Cause) { // else a list or Polling follows
			c.failed(o.Cause, o.Err)
		}
	}
}

func (c *contact) failed(cause informer.Cause, err error) {
	switch cause {
	case informer.CauseNone, informer.CauseCanceled, informer.CauseClosed, informer.CauseExpired:
		return // what follows makes it good
	}
	c.set(trouble{cause: cause, err: err, since: time.Now()})
}

// missed is how long what was missed may take to arrive in a watch that is open again.
// Nothing tells that it has arrived.
const missed = time.Second

// opened ends the trouble a little later, if the watch is still open by then: what is
// held is what was before the trouble.
func (c *contact) opened() {
	turn := c.next()
	if c.now().cause != informer.CauseNone {
		time.AfterFunc(missed, func() { c.setIn(turn, trouble{}) })
	}
}

// next begins another turn: a watch that was opened before does not end the trouble.
func (c *contact) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	return c.turn
}

// set notes the trouble, and calls the listeners if it is another one.
func (c *contact) set(t trouble) { c.setIn(c.next(), t) }

// setIn is set, unless another turn has begun.
func (c *contact) setIn(turn int, t trouble) {
	c.mu.Lock()
	same := c.turn != turn || c.trouble.cause == t.cause && gist(c.trouble.err) == gist(t.err)
	if !same {
		if t.cause != informer.CauseNone && c.trouble.cause != informer.CauseNone {
			t.since = c.trouble.since
		}
		c.trouble = t
	}
	listeners := slices.Collect(maps.Values(c.listeners))
	c.mu.Unlock()
	if same {
		return
	}
	for _, listener := range listeners {
		listener()
	}
}

func (c *contact) now() trouble {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

func (c *contact) listen(l *lease, changed func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listeners == nil {
		c.listeners = map[*lease]func(){}
	}
	c.listeners[l] = changed
}

func (c *contact) unlisten(l *lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listeners, l)
}

// gist returns what of an error is the same for a list and for a watch: the cause, without
// the request and its URL.
func gist(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	if request := (*url.Error)(nil); errors.As(err, &request) {
		err = request.Err
	}
	return check.Gist(err)
}
