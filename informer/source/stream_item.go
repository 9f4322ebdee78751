// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/source/internal/wire"
	"github.com/apiary-go/apiary/store"
)

// wireItem is the item of one object after the other.
type wireItem[T any] struct {
	source  *wireSource[T]
	object  *wire.Object
	obj     runtime.Object // if it was decoded already
	meta    store.Meta
	bad     error  // why it cannot be decoded
	form    string // API version of the last object that had one
	guessed bool   // an object so far got the expected kind
	size    int    // of the last object that was decoded
}

// set makes o the object of the item. list is empty for an object of a watch. It fails for
// an object that is not of the collection.
func (i *wireItem[T]) set(o *wire.Object, list wire.ListMeta) error {
	i.object, i.obj, i.bad = o, nil, nil
	i.meta = store.Meta{
		Key: store.Key{Namespace: o.Namespace, Name: o.Name}, UID: types.UID(o.UID), Version: o.Version,
	}
	if o.Kind == "" {
		o.Kind, o.APIVersion = i.source.codec.kindIn(list)
		i.guessed = i.guessed || list.Kind == "" && o.Kind != ""
	}
	if o.APIVersion != "" && o.APIVersion != i.form {
		i.form = strings.Clone(o.APIVersion)
	}
	if err := i.source.codec.isOne(o); err != nil {
		return &informer.DecodingError{Meta: i.meta, Err: err}
	}
	err := o.Err
	if o.Name == "" {
		if i.meta = (store.Meta{}); err == nil {
			err = fmt.Errorf("an object (%s) without a name", o.Kind)
		}
	}
	switch {
	case err != nil:
		i.bad = &informer.DecodingError{Meta: i.meta, Err: err}
	case i.meta.Version == "" && list != (wire.ListMeta{}):
		// Such an object counts as new only if its content changed.
		if i.obj, i.bad = i.read(); i.bad == nil {
			i.meta.Version = contentVersion(i.obj)
		}
	}
	return nil
}

// read decodes the object.
func (i *wireItem[T]) read() (runtime.Object, error) {
	if i.object == nil {
		return nil, &informer.DecodingError{Meta: i.meta, Err: errors.New("decoded twice")}
	}
	obj, err := i.source.codec.decode(i.object)
	i.size = i.object.Size
	i.object = nil
	if err != nil {
		return nil, &informer.DecodingError{Meta: i.meta, Err: err}
	}
	return obj, nil
}

// Size returns about how many bytes the decoded object takes, without what it has in common
// with others. It is 0 if that is not known, and of a conversion, which makes another object.
func (i *wireItem[T]) Size() int {
	if !i.source.typed {
		return 0
	}
	return i.size
}

// Meta implements [informer.Item].
func (i *wireItem[T]) Meta() store.Meta { return i.meta }

// Decode implements [informer.Item].
func (i *wireItem[T]) Decode() (t T, err error) {
	if i.bad != nil {
		return t, i.bad
	}
	obj := i.obj
	if i.obj = nil; obj == nil {
		if obj, err = i.read(); err != nil {
			return t, err
		}
	}
	return i.source.converted(i.meta, obj, false)
}

// wireStream is a [informer.Stream] over a body.
type wireStream[T any] struct {
	cancel context.CancelCauseFunc
	body   *body
	watch  *wire.Watch
	item   wireItem[T]
	failed error // what ended the stream
	stop   sync.Once
}

// Next implements [informer.Stream].
func (s *wireStream[T]) Next() (informer.WatchEvent[T], error) {
	if s.failed != nil {
		return informer.WatchEvent[T]{}, s.failed
	}
	event, err := s.next()
	if err != nil {
		s.failed = err
	}
	return event, err
}

func (s *wireStream[T]) next() (informer.WatchEvent[T], error) {
	raw, err := s.watch.Next()
	switch {
	case err == io.EOF && s.body.ctx.Err() == nil:
		return informer.WatchEvent[T]{}, io.EOF
	case err != nil:
		return informer.WatchEvent[T]{}, s.body.explain(err)
	}
	kind := watch.EventType(raw.Type)
	switch kind {
	case watch.Added, watch.Modified, watch.Deleted:
		if err := s.item.set(&raw.Object, wire.ListMeta{}); err != nil {
			return informer.WatchEvent[T]{}, err
		}
		if kind == watch.Deleted && s.item.meta.Key.Name == "" {
			return informer.WatchEvent[T]{}, s.item.bad
		}
		return informer.WatchEvent[T]{Type: kind, Item: &s.item, Version: s.item.meta.Version, Form: s.item.form}, nil
	case watch.Bookmark:
		if err := cmp.Or(raw.Object.Err, s.item.source.codec.isOne(&raw.Object)); err != nil {
			return informer.WatchEvent[T]{}, &informer.DecodingError{Err: fmt.Errorf("bookmark: %w", err)}
		}
		return informer.WatchEvent[T]{Type: kind, Version: raw.Object.Version, InitialEventsEnd: raw.Object.InitialEventsEnd}, nil
	case watch.Error:
		return informer.WatchEvent[T]{}, statusOf(&raw.Object)
	}
	return informer.WatchEvent[T]{}, &informer.DecodingError{Err: fmt.Errorf("an event of unknown type %q with a %s", raw.Type, raw.Object.Kind)}
}

// Stop implements [informer.Stream].
func (s *wireStream[T]) Stop() {
	s.stop.Do(func() {
		s.cancel(errStopped)
		s.body.close()
	})
}
