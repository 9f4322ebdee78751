// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer/source/internal/wire"
	"github.com/apiary-go/apiary/internal/check"
)

// SourceOption is an option of [FromListerWatcher]. Nil ones are skipped.
type SourceOption func(*sourceOptions)

type sourceOptions struct {
	fields []string
	masked bool
	limits wire.Limits
	kind   string
	sent   runtime.Object // nil: nothing is said
	shared bool
	alone  bool
	strict bool
	errs   []error
}

// WithFields has only the named fields of objects be there, and what identifies them:
// name, namespace, UID and version. All others are as if the server had not sent them:
// zero. They are skipped in what it sends, and take neither time nor memory. Objects
// are of the same type; a conversion gets them without the other fields. Several options
// add up; without a name there is only what identifies.
//
// Fields are named as in manifests: "metadata.labels", "spec.containers.image",
// "status.podIP". A name stands for all that is below it, in a slice for the field of
// each of its elements; "metadata.labels[app.kubernetes.io/name]" is an entry of a map,
// whose map has no others. A name that the type of the objects does not have is an error
// of [informer.NewReflector]; unstructured objects have any, and what is neither a map nor a
// slice in them where a field below it is wanted is there as it is.
//
// What is not there cannot be told from what is empty: an object that was read with a
// mask must not be written back, but by a patch.
func WithFields(names ...string) SourceOption {
	return func(o *sourceOptions) { o.fields, o.masked = append(o.fields, names...), true }
}

// WithObjectLimit bounds the bytes of an object as the server sends it. A larger object is
// not decoded: see [WithStrictDecoding]. Default: 64 MiB. One that is larger than 16 MiB as
// well fails the list or the watch.
//
// The limits of a Source are no tighter than those of an API server, which accepts requests
// of 3 MiB and JSON that is nested 10000 deep. etcd stores 1.5 MiB of an object by default,
// which are at most six times as much in JSON. The documentation of the package has all
// limits. The limit of the memory that an object takes follows this one.
//
// Only what reads bodies, see [Streamer], knows of it.
func WithObjectLimit(bytes int) SourceOption {
	return func(o *sourceOptions) {
		if bytes <= 0 {
			o.errs = append(o.errs, fmt.Errorf("WithObjectLimit(%d): give a positive number of bytes", bytes))
			return
		}
		o.limits.Object = bytes
	}
}

// WithStrictDecoding makes a list or a watch fail if one of its objects cannot be decoded or
// converted, or has no name. The error names the object, and the list or watch is repeated
// until the object is mended. Default: the object is left out, and the others are served; see
// "Objects that cannot be decoded" in the documentation of package informer.
func WithStrictDecoding() SourceOption {
	return func(o *sourceOptions) { o.strict = true }
}

// WithKind says of which kind objects are, such as "Widget", if that is not the name of
// their Go type. A list of other objects is an error. Only what reads bodies, see
// [Streamer], needs to know.
//
// Unstructured objects may leave it to their list to say of which kind they are. If the
// list does so behind its items, as one does whose members are in the order of the
// alphabet, this has to be known in advance, since they are told as they come; without
// it they are an error. If the version comes behind them as well, see [WithObjectType].
// Where it is not known a list that leaves out its items, in place of having none, is an
// error, as it may be anything.
func WithKind(kind string) SourceOption {
	return func(o *sourceOptions) { o.kind = kind }
}

// WithObjectType says by an empty object of which type objects are before they are
// converted, and by its kind and version, if it has them, of which kind they are on the
// server:
//
//	source.FromListerWatcher(listWatch, podToEndpoint, source.WithObjectType(&corev1.Pod{}))
//
// It is for what [NewListWatchFromClient] returns, which does not know: with it the
// responses are read as streams although there is a conversion. Anything else, as are a
// [Streamer], which says it by itself, and a ListWatch of which a function was replaced,
// is an error of [informer.NewReflector], and so is what says no more than T does where nothing is
// converted, and a kind of a metav1.PartialObjectMetadata, which does not tell it.
//
// Lists and objects of another kind, group or version are errors. Of a type of
// k8s.io/api that is given without a version the package is taken for it, which names
// only the first word of the group.
func WithObjectType(obj runtime.Object) SourceOption {
	return func(o *sourceOptions) {
		if _, ok := typeOf(obj); !ok || check.IsNil(obj) {
			o.errs = append(o.errs, fmt.Errorf("WithObjectType(%T): give a pointer to an empty object, such as &corev1.Pod{}", obj))
			return
		}
		o.sent = obj
	}
}

// checkSent reports why WithObjectType, if it was given, is not for a source: made is
// whether it is of what NewListWatchFromClient returns, typed whether objects are of the
// type of own, which is not converted.
func (o *sourceOptions) checkSent(own runtime.Object, typed, made bool) error {
	if o.sent == nil {
		return nil
	}
	gvk := o.sent.GetObjectKind().GroupVersionKind()
	_, metadata := o.sent.(*metav1.PartialObjectMetadata)
	switch {
	case !made:
		return errors.New("WithObjectType is for what NewListWatchFromClient returns, with its own functions: leave it out; a Streamer says so by ObjectType")
	case typed && reflect.TypeOf(o.sent) != reflect.TypeOf(own):
		return fmt.Errorf("WithObjectType is a %T, and nothing is converted to another type: leave it out, or give FromListerWatcher a function that converts", o.sent)
	case metadata && !gvk.Empty():
		return fmt.Errorf("WithObjectType is the metadata of a %s, and what is sent as metadata does not say of which kind it is: leave out the kind and version", gvk)
	case gvk.Group != "" && gvk.Version == "":
		return fmt.Errorf("WithObjectType names the group %s and no version: give it a version", gvk.Group)
	case typed && gvk.Empty():
		return fmt.Errorf("WithObjectType says no more than that objects are %Ts, as is known: leave it out, or give it a kind and version", o.sent)
	}
	return nil
}

// WithoutSharing has each object have all of its parts for itself. By default what is
// equal in objects that a Source reads from bodies, see [Streamer], is in memory once,
// from the second time on that it is seen, for as long as one of them refers to it:
// whatever is below a pointer, in a slice or in a map, in unstructured objects whatever is
// an object or an array, unless a mask of [WithFields] leaves out some of it, and strings
// up to 256 bytes. It takes less time, as what is equal is not decoded again, and is no
// difference to those who do not modify objects. What a conversion gets, which may modify
// it, shares strings only, but [WithSharing].
//
// For objects that have nothing in common it is time spent in vain, and no memory. So what
// is looked for 1024 times in a row and never found, at one place of the objects, is looked
// for each 16th time only, until it is found again: decoding such objects takes 1.05 to
// 1.15 times as long as without sharing (BenchmarkDecodeUnique, BenchmarkJSONShared).
func WithoutSharing() SourceOption {
	return func(o *sourceOptions) { o.alone = true }
}

// WithSharing has objects that are converted share what others do, see [WithoutSharing].
// The conversion must not modify what it gets, but may refer to parts of it in what it
// returns: it is for one that takes some fields of each object. Nothing detects one that
// does modify it: what store.DetectMutations looks at is what was made of objects. Where
// nothing is converted it says nothing new, and only what reads bodies, see [Streamer],
// knows of it. It is an error beside WithoutSharing, with which what is read for mirrors is,
// and for queues of client-go with a transformer.
func WithSharing() SourceOption {
	return func(o *sourceOptions) { o.shared = true }
}

// gatherSource also returns what is wrong with the options.
func gatherSource(opts []SourceOption) (sourceOptions, error) {
	o := sourceOptions{limits: wire.DefaultLimits}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.shared && o.alone {
		o.errs = append(o.errs, errors.New("WithSharing and WithoutSharing: leave out one of them; objects of a mirror, and of a queue that transforms, share nothing"))
	}
	return o, errors.Join(o.errs...)
}

var unstructuredType = reflect.TypeFor[unstructured.Unstructured]()

// mask is nil if everything is wanted. It fails if the type, where it is known and says
// which fields it has, has not these.
func (o *sourceOptions) mask(typ reflect.Type) (wire.Mask, error) {
	if !o.masked {
		return nil, nil
	}
	mask, err := wire.ParseMask(o.fields)
	if err == nil && typ != nil && typ != unstructuredType {
		err = wire.CheckPaths(typ, o.fields)
	}
	if err != nil {
		return nil, fmt.Errorf("WithFields: %w", err)
	}
	return mask, nil
}

// masker leaves fields out of objects that others have decoded.
type masker struct {
	mask    wire.Mask
	limits  wire.Limits
	typ     reflect.Type
	decoder *wire.JSONDecoder
}

// only returns an object with the fields of the mask, as a new one.
func (m *masker) only(obj runtime.Object) (runtime.Object, error) {
	raw, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	if _, ok := obj.(*unstructured.Unstructured); ok {
		content, err := wire.DecodeUnstructured(raw, m.limits, wire.JSONOptions{Mask: m.mask})
		return &unstructured.Unstructured{Object: content}, err
	}
	typ, ok := typeOf(obj)
	if !ok {
		return nil, fmt.Errorf("WithFields for a %T: it is for pointers to structs", obj)
	}
	if typ != m.typ {
		if m.decoder, err = wire.NewJSONDecoder(typ, m.mask); err != nil {
			return nil, fmt.Errorf("WithFields: %w", err)
		}
		m.typ = typ
	}
	only := reflect.New(typ)
	if err := m.decoder.Decode(raw, m.limits, nil, only.Elem()); err != nil {
		return nil, err
	}
	return only.Interface().(runtime.Object), nil
}
