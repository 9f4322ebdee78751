// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/apiary-go/apiary/informer/internal/wire"
)

// codec makes objects of one type of what a server sends.
type codec struct {
	typ    reflect.Type // a struct; nil: unstructured
	kind   string       // that the objects must have; empty: any
	limits wire.Limits
	mask   wire.Mask // nil: all

	mu       sync.Mutex // one object at a time
	protobuf *wire.ProtoDecoder
	json     *wire.JSONDecoder
	intern   func([]byte) string

	noProtobuf, noJSON error // why there is no decoder
}

// newCodec returns nil if objects of the type of obj are not read from streams.
func newCodec(obj runtime.Object, o sourceOptions) (*codec, error) {
	if isNil(obj) {
		return nil, nil
	}
	mask, err := o.mask()
	if err != nil {
		return nil, fmt.Errorf("WithFields: %w", err)
	}
	c := &codec{kind: obj.GetObjectKind().GroupVersionKind().Kind, limits: o.limits, mask: mask}
	var share *wire.Share
	if !o.alone {
		share = wire.NewShare()
		c.intern = share.Text
	}
	if _, ok := obj.(*unstructured.Unstructured); ok {
		return c, nil
	}
	typ, ok := typeOf(obj)
	if !ok {
		return nil, nil
	}
	c.typ = typ
	if c.kind == "" {
		c.kind = typ.Name()
	}
	if err := wire.CheckPaths(typ, o.fields); err != nil {
		return nil, fmt.Errorf("WithFields: %w", err)
	}
	// What is not there is an error of the objects that would need it.
	c.protobuf, c.noProtobuf = wire.NewProtoDecoder(typ, mask, share)
	c.json, c.noJSON = wire.NewJSONDecoder(typ, mask)
	return c, nil
}

// decode makes an object of what was sent.
func (c *codec) decode(o *wire.Object) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.typ == nil && o.Format == wire.JSON:
		return c.unstructured(o)
	case c.typ == nil:
		return nil, errors.New("an object in protobuf, which cannot be unstructured: use a client for JSON")
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
		err = utiljson.Unmarshal(o.Raw, obj)
	default:
		err = c.json.Decode(o.Raw, c.limits, c.intern, made.Elem())
	}
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{}) // as client-go has it
	return obj, nil
}

func (c *codec) unstructured(o *wire.Object) (runtime.Object, error) {
	content, err := wire.DecodeUnstructured(o.Raw, c.limits, wire.JSONOptions{Mask: c.mask, Intern: c.intern})
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" {
		if o.Kind == "" {
			return nil, errors.New("an object that does not say of which kind it is")
		}
		u.SetKind(o.Kind)
		u.SetAPIVersion(o.APIVersion)
	}
	return u, nil
}

func decodeStatus(o *wire.Object, status *metav1.Status) error {
	if o.Format == wire.Protobuf {
		return status.Unmarshal(o.Raw)
	}
	return utiljson.Unmarshal(o.Raw, status)
}
