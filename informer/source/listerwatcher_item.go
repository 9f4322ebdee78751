// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
	"github.com/apiary-go/apiary/store"
)

// objectItem is the item of one object after the other.
type objectItem[T any] struct {
	source *listerWatcher[T]
	copies bool // the object lies in an array of others
	obj    runtime.Object
	meta   store.Meta
	bad    error // why it cannot be decoded
}

// set makes the item that of obj. It fails for an object that is not of the collection.
func (i *objectItem[T]) set(obj runtime.Object) error {
	m, err := metaOf(obj)
	if errors.Is(err, errTable) {
		return &informer.DecodingError{Err: err}
	}
	if i.obj, i.meta, i.bad = obj, m, nil; m.Key.Name != "" {
		return nil
	}
	if i.meta = (store.Meta{}); err == nil {
		err = fmt.Errorf("an object (%T) without a name", obj)
	}
	i.bad = &informer.DecodingError{Err: err}
	return nil
}

// setListed is set for an object of a list. An object without a version gets one from its
// content, so that it counts as new only if it changed.
func (i *objectItem[T]) setListed(obj runtime.Object) error {
	if err := i.set(obj); err != nil {
		return err
	}
	if i.meta.Version == "" && i.bad == nil {
		i.meta.Version = contentVersion(obj)
	}
	return nil
}

// contentVersion returns [store.ContentVersion], or empty if that fails: the object then
// counts as new each time.
func contentVersion(obj runtime.Object) (version string) {
	defer func() {
		if recover() != nil {
			version = ""
		}
	}()
	version, err := store.ContentVersion(obj)
	if err != nil {
		return ""
	}
	return version
}

// Meta implements [informer.Item].
func (i *objectItem[T]) Meta() store.Meta { return i.meta }

// Decode implements [informer.Item].
func (i *objectItem[T]) Decode() (t T, err error) {
	obj := i.obj
	i.obj = nil
	if i.bad != nil {
		return t, i.bad
	}
	if obj == nil {
		return t, &informer.DecodingError{Meta: i.meta, Err: errors.New("decoded twice")}
	}
	return i.source.converted(i.meta, obj, i.copies)
}

var errTable = errors.New("the server sent a Table: ask for objects, not for application/json;as=Table")

func isTable(obj runtime.Object) bool {
	switch o := obj.(type) {
	case *metav1.Table:
		return true
	case runtime.Unstructured:
		gvk := o.GetObjectKind().GroupVersionKind()
		return gvk.Kind == "Table" && gvk.Group == metav1.GroupName
	}
	return false
}

// metaOf returns the meta of obj, or an error for what has none.
func metaOf(obj runtime.Object) (m store.Meta, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("an object (%T) whose metadata cannot be read: %s", obj, redact.Panic(p))
		}
	}()
	if obj == nil {
		return m, errors.New("an object that is nil")
	}
	if isTable(obj) {
		return m, errTable
	}
	o, err := meta.Accessor(obj)
	if err != nil {
		return m, fmt.Errorf("an object (%T) without metadata: %w", obj, err)
	}
	return store.MetaOf(o), nil
}

// statusError returns the error that an event of type Error carries.
func statusError(obj runtime.Object) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &informer.DecodingError{Err: fmt.Errorf("an error event with a %T that cannot be read: %s", obj, redact.Panic(p))}
		}
	}()
	if check.IsNil(obj) {
		return &informer.DecodingError{Err: errors.New("an error event without a status")}
	}
	err = apierrors.FromObject(obj)
	if status := apierrors.APIStatus(nil); !errors.As(err, &status) { // it shows the object
		return &informer.DecodingError{Err: fmt.Errorf("an error event with a %T, not a Status", obj)}
	}
	if apierrors.HasStatusCause(err, "ClientWatchDecoding") && informer.CauseOf(err) == informer.CauseDecoding {
		// It is of client-go, with the text of the decoder.
		_, why, _ := strings.Cut(err.Error(), "unable to decode watch event: ")
		return &informer.DecodingError{Err: fmt.Errorf("an event that the client cannot decode: %w", redact.Decoding(errors.New(why)))}
	}
	return err
}
