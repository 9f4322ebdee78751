// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/record"
	"github.com/apiary-go/apiary/informer/source/internal/wire"
	"github.com/apiary-go/apiary/internal/check"
)

// SourceOption is an option of [FromListerWatcher]. Nil options are ignored.
type SourceOption func(*sourceOptions)

type sourceOptions struct {
	fields   []string
	masked   bool
	limits   wire.Limits
	kind     string
	sent     runtime.Object // of WithObjectType, or nil
	shared   bool
	alone    bool
	strict   bool
	record   *recording     // nil: nothing is recorded from the start
	switches *record.Switch // nil: it cannot be recorded later
	errs     []error
}

// recording is what WithRecording was given.
type recording struct {
	w    io.Writer
	opts []record.Option
}

// WithFields keeps only the named fields of objects, and their name, namespace, UID and
// version. Other fields are zero, as if the server had not sent them. They are skipped in the
// response and take neither time nor memory. A conversion gets objects of the same type
// without these fields. Several options add up. WithFields() keeps only the identity.
//
// Fields have the names of manifests: "metadata.labels", "spec.containers.image",
// "status.podIP". A name includes everything below it, and applies to each element of a
// slice. "metadata.labels[app.kubernetes.io/name]" keeps one entry of a map. A field that
// the type does not have is an error of [informer.NewReflector]. Unstructured objects accept
// any field; a value that should have fields, and is neither a map nor a slice, is kept.
//
// A reader cannot distinguish a skipped field from an empty one. Objects that were read
// with WithFields must not be written back with an update: use a patch.
func WithFields(names ...string) SourceOption {
	return func(o *sourceOptions) { o.fields, o.masked = append(o.fields, names...), true }
}

// WithObjectLimit limits the bytes of an object in a response. A larger object is not decoded,
// see [WithStrictDecoding]. One that is also larger than 16 MiB fails the list or the watch.
// The limit for the memory of an object follows this one, see the package documentation.
// Default: 64 MiB.
//
// An API server accepts requests of 3 MiB and JSON that is nested 10000 deep. etcd stores at
// most 1.5 MiB of an object by default, which can be six times as much in JSON. The option
// has an effect only on responses that are read as streams, see [Streamer].
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
// converted, or has no name. The error names the object. The list or watch is repeated until
// the object is mended. Default: the object is left out and the others are served, see
// "Objects that cannot be decoded" in the documentation of package informer.
func WithStrictDecoding() SourceOption {
	return func(o *sourceOptions) { o.strict = true }
}

// WithKind sets the kind of the objects, such as "Widget", if it is not the name of their Go
// type. A list of another kind is an error. The option has an effect only on responses that
// are read as streams, see [Streamer].
//
// Unstructured objects without a kind get it from their list. A list whose members are in
// alphabetical order names its kind after the items. Then WithKind is required, since objects
// are decoded as they arrive: without it they are errors. If the version comes after them as
// well, see [WithObjectType]. If no kind is known, a list without an items field is an error,
// since it can be any object.
func WithKind(kind string) SourceOption {
	return func(o *sourceOptions) { o.kind = kind }
}

// WithObjectType sets the type of objects before they are converted, by an empty object. If
// the object has a kind and version, these are the ones on the server:
//
//	source.FromListerWatcher(listWatch, podToEndpoint, source.WithObjectType(&corev1.Pod{}))
//
// It is only for [NewListWatchFromClient], which does not know the type: with the option,
// responses are read as streams in spite of a conversion. Lists and objects of another kind,
// group or version are errors. For a type of k8s.io/api without a version, the package
// determines the version and the first word of the group.
//
// [informer.NewReflector] returns an error for any other ListerWatcher, such as a [Streamer],
// which has ObjectType, or a ListWatch with a replaced function. So it does for an option that
// adds nothing to T without a conversion, and for a metav1.PartialObjectMetadata with a
// kind, which its responses do not name.
func WithObjectType(obj runtime.Object) SourceOption {
	return func(o *sourceOptions) {
		if _, ok := typeOf(obj); !ok || check.IsNil(obj) {
			o.errs = append(o.errs, fmt.Errorf("WithObjectType(%T): give a pointer to an empty object, such as &corev1.Pod{}", obj))
			return
		}
		o.sent = obj
	}
}

// checkSent returns an error if WithObjectType was given and does not fit the source. made
// reports whether the ListerWatcher is from NewListWatchFromClient, typed whether objects
// have the type of own without a conversion.
func (o *sourceOptions) checkSent(own runtime.Object, typed, made bool) error {
	if o.sent == nil {
		return nil
	}
	gvk := o.sent.GetObjectKind().GroupVersionKind()
	_, metadata := o.sent.(*metav1.PartialObjectMetadata)
	switch {
	case !made:
		return errors.New("WithObjectType is only for a ListWatch of NewListWatchFromClient with its own functions: leave it out; a Streamer has ObjectType")
	case typed && reflect.TypeOf(o.sent) != reflect.TypeOf(own):
		return fmt.Errorf("WithObjectType is a %T, and nothing is converted to another type: leave it out, or give FromListerWatcher a function that converts", o.sent)
	case metadata && !gvk.Empty():
		return fmt.Errorf("WithObjectType is the metadata of a %s, and metadata is sent without the kind of its object: leave out the kind and version", gvk)
	case gvk.Group != "" && gvk.Version == "":
		return fmt.Errorf("WithObjectType names the group %s and no version: give it a version", gvk.Group)
	case typed && gvk.Empty():
		return fmt.Errorf("WithObjectType is a %T without a kind and version, and the type is known: leave it out, or give it a kind and version", o.sent)
	}
	return nil
}

// WithoutSharing gives each object its own memory.
//
// By default, equal parts of objects that are read as streams, see [Streamer], are interned.
// The second and later equal parts share memory while an object refers to it, and are not
// decoded again. Parts are values behind pointers, slices, maps, and strings of up to 256
// bytes; in unstructured objects, all objects and arrays. A part in which [WithFields] skips
// fields is not interned. Readers that do not modify objects see no difference. A conversion,
// which can modify objects, gets only interned strings, except with [WithSharing].
//
// Interning costs time if objects have nothing in common. After 1024 failed lookups in a
// row at one place of the objects, only each 16th part is looked up until one is found.
// Decoding such objects takes 1.05 to 1.15 times as long as with WithoutSharing
// (BenchmarkDecodeUnique, BenchmarkJSONShared).
func WithoutSharing() SourceOption {
	return func(o *sourceOptions) { o.alone = true }
}

// WithSharing interns all equal parts of objects that are converted, see [WithoutSharing]. The
// conversion must not modify its objects; its result can refer to parts of them. Use it for
// conversions that take some fields of each object. A conversion that modifies them is not
// detected: store.DetectMutations checks only its results.
//
// Without a conversion, or if responses are not read as streams, it has no effect. It is an
// error together with WithoutSharing. Mirrors and client-go queues with a transformer always
// set that option.
func WithSharing() SourceOption {
	return func(o *sourceOptions) { o.shared = true }
}

// WithRecording records what is read to w, for a replay in a test. See package record for what
// a recording contains, and [record.NewSource] for when it is written. w must belong to this
// source only.
func WithRecording(w io.Writer, opts ...record.Option) SourceOption {
	return func(o *sourceOptions) { o.record = &recording{w, opts} }
}

// WithRecordingSwitch lets s start and stop the recording of what is read, while the program
// runs. s must belong to this source only. It is independent of [WithRecording].
func WithRecordingSwitch(s *record.Switch) SourceOption {
	return func(o *sourceOptions) {
		if s == nil {
			o.errs = append(o.errs, errors.New("WithRecordingSwitch: the switch is nil"))
		}
		o.switches = s
	}
}

// recorded returns src, recorded if the options say so.
func recorded[T any](src informer.Source[T], o sourceOptions) informer.Source[T] {
	if o.record != nil {
		src = record.NewSource(src, o.record.w, o.record.opts...)
	}
	if o.switches != nil {
		src = record.NewSwitchedSource(src, o.switches)
	}
	return src
}

// gatherSource applies the options. It returns an error for invalid ones.
func gatherSource(opts []SourceOption) (sourceOptions, error) {
	o := sourceOptions{limits: wire.DefaultLimits}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.shared && o.alone {
		o.errs = append(o.errs, errors.New("WithSharing and WithoutSharing: leave out one of them; a mirror, and a queue with a transformer, set WithoutSharing"))
	}
	return o, errors.Join(o.errs...)
}

var unstructuredType = reflect.TypeFor[unstructured.Unstructured]()

// mask returns the mask of WithFields, or nil without one. It returns an error for a field
// that typ does not have.
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

// masker removes masked fields from objects that a client has decoded.
type masker struct {
	mask    wire.Mask
	limits  wire.Limits
	typ     reflect.Type
	decoder *wire.JSONDecoder
}

// only returns a new object with the fields of the mask.
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
