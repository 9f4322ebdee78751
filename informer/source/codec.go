// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/apiary-go/apiary/informer/source/internal/wire"
	"github.com/apiary-go/apiary/internal/check"
	"github.com/apiary-go/apiary/internal/redact"
)

// codec decodes objects of one type from the bytes of a server.
type codec struct {
	typ     reflect.Type            // a struct; nil: unstructured
	want    schema.GroupVersionKind // of the objects; an empty kind or version is any
	grouped bool                    // want has the whole group: else only its first word, from the package of typ
	named   bool                    // lists have the name of want's kind
	limits  wire.Limits
	mask    wire.Mask // nil: all

	mu       sync.Mutex // one object at a time
	protobuf *wire.ProtoDecoder
	json     *wire.JSONDecoder
	share    *wire.Share // nil: nothing is shared

	noProtobuf, noJSON error // why there is no decoder
}

// newCodec returns a codec for the type of obj, or nil if the type cannot be streamed. A
// conversion can modify objects, so converted ones share only strings, unless o.shared.
func newCodec(obj runtime.Object, converted bool, o sourceOptions) (*codec, error) {
	if check.IsNil(obj) {
		return nil, nil
	}
	typ, ok := typeOf(obj)
	if !ok {
		return nil, nil
	}
	mask, err := o.mask(typ)
	if err != nil {
		return nil, err
	}
	gvk := obj.GetObjectKind().GroupVersionKind()
	c := &codec{want: expected(typ, gvk, o.kind), grouped: gvk.Version != "", named: true, limits: o.limits, mask: mask}
	switch {
	case o.alone:
	case converted && !o.shared:
		c.share = wire.NewTexts()
	default:
		c.share = wire.NewShare()
	}
	if typ == unstructuredType {
		return c, nil
	}
	c.typ = typ
	if c.protobuf, c.noProtobuf = wire.NewProtoDecoder(typ, mask, c.share); c.protobuf != nil {
		c.protobuf.Limits = o.limits
	}
	c.json, c.noJSON = wire.NewJSONDecoder(typ, mask)
	if mask != nil && c.noProtobuf != nil && wire.HasUnmarshal(typ) {
		return nil, fmt.Errorf("WithFields: in protobuf: %w", c.noProtobuf)
	}
	return c, nil
}

// expected returns the kind and version that objects must have: the given ones, or those
// that the name and the package of the type imply.
func expected(typ reflect.Type, gvk schema.GroupVersionKind, kind string) schema.GroupVersionKind {
	switch {
	case kind != "":
		gvk.Kind = kind
	case typ == reflect.TypeFor[metav1.PartialObjectMetadata]():
		return schema.GroupVersionKind{} // any object has metadata
	case gvk.Kind == "" && typ != unstructuredType:
		gvk.Kind = typ.Name()
	}
	if _, path, ok := strings.Cut(typ.PkgPath(), "k8s.io/api/"); ok && gvk.Version == "" {
		gvk.Group, gvk.Version, _ = strings.Cut(path, "/")
		if gvk.Group == "core" {
			gvk.Group = ""
		}
	}
	return gvk
}

// isVersion reports whether objects of apiVersion are expected. If the package of the type
// implies the group, only the first word of the group is compared.
func (c *codec) isVersion(apiVersion string) bool {
	if c.want.Version == "" || apiVersion == "" {
		return true
	}
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil || gv.Version != c.want.Version {
		return false
	}
	if c.grouped {
		return gv.Group == c.want.Group
	}
	word, _, _ := strings.Cut(gv.Group, ".")
	return gv.Group == c.want.Group || word == c.want.Group || c.want.Group == "apiserverinternal"
}

// kindIn returns the kind and version of a list item that does not carry its own: those that
// the list has named so far. An unstructured object needs them at once, so it gets the
// expected ones if the list has named none. The end of the list is checked against them.
func (c *codec) kindIn(list wire.ListMeta) (kind, apiVersion string) {
	kind, apiVersion = strings.TrimSuffix(list.Kind, "List"), list.APIVersion
	if c.typ != nil {
		return kind, apiVersion
	}
	if list.Kind == "" {
		kind = c.want.Kind
	}
	if apiVersion == "" && c.want.Version != "" {
		apiVersion = c.want.GroupVersion().String()
	}
	if kind == "" || apiVersion == "" {
		return "", ""
	}
	return kind, apiVersion
}

// isOne returns an error if an object is not of the expected kind and version.
func (c *codec) isOne(o *wire.Object) error {
	switch {
	case o.Kind == "Table":
		return errTable
	case o.Kind == "":
		return nil
	case c.want.Kind != "" && o.Kind != c.want.Kind || !c.isVersion(o.APIVersion):
		return fmt.Errorf("the object is a %s %s, not a %s", o.APIVersion, o.Kind, c)
	}
	return nil
}

// String returns the expected version and kind, for errors.
func (c *codec) String() string {
	version := c.want.Version
	if c.grouped {
		version = c.want.GroupVersion().String()
	}
	return strings.TrimSpace(version + " " + c.want.Kind)
}

// sweep frees unused interned parts at the end of a list.
func (c *codec) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.share != nil {
		c.share.Sweep()
	}
}

// decode decodes an object.
func (c *codec) decode(o *wire.Object) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.share == nil {
		return c.decoded(o)
	}
	before := c.share.Made()
	obj, err := c.decoded(o)
	o.Size = c.share.Made() - before
	if c.typ != nil {
		o.Size += int(c.typ.Size())
	}
	return obj, err
}

// decoded is decode. The caller holds the mutex.
func (c *codec) decoded(o *wire.Object) (runtime.Object, error) {
	switch {
	case c.typ == nil && o.Format == wire.JSON:
		return c.unstructured(o)
	case c.typ == nil:
		return nil, errors.New("an object in protobuf cannot be unstructured: use a client for JSON")
	}
	made := reflect.New(c.typ)
	obj := made.Interface().(runtime.Object)
	var err error
	switch {
	case o.Format == wire.Protobuf && c.noProtobuf != nil:
		err = fmt.Errorf("an object in protobuf: %w: use a client for JSON", c.noProtobuf)
	case o.Format == wire.Protobuf:
		err = c.protobuf.Decode(o, obj)
	case c.noJSON != nil && c.mask != nil:
		err = c.noJSON
	case c.noJSON != nil:
		if err = utiljson.Unmarshal(o.Raw, obj); err != nil {
			err = redact.Decoding(err)
		}
	default:
		err = c.json.Decode(o.Raw, c.limits, c.share, made.Elem())
	}
	if err != nil {
		return nil, err
	}
	if _, ok := obj.(*metav1.PartialObjectMetadata); !ok {
		// As in protobuf, and in watches of client-go.
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, nil
}

func (c *codec) unstructured(o *wire.Object) (runtime.Object, error) {
	content, err := wire.DecodeUnstructured(o.Raw, c.limits, wire.JSONOptions{Mask: c.mask, Share: c.share})
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" {
		if o.Kind == "" {
			return nil, errors.New("an object without a kind, in a list that has not named its kind yet: give the source WithKind, and the version by WithObjectType, or by ObjectType of a Streamer")
		}
		u.SetKind(o.Kind)
		u.SetAPIVersion(o.APIVersion)
	}
	return u, nil
}

func decodeStatus(o *wire.Object, status *metav1.Status) (err error) {
	if o.Format == wire.Protobuf {
		err = status.Unmarshal(o.Raw)
	} else {
		err = utiljson.Unmarshal(o.Raw, status)
	}
	if err != nil {
		return redact.Decoding(err)
	}
	return nil
}
