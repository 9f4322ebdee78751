// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package informer

import (
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
	typ  reflect.Type // a struct; nil: unstructured
	kind string       // that the objects must have; empty: any

	mu       sync.Mutex // a decoder is for one goroutine at a time
	share    *wire.Share
	protobuf *wire.ProtoDecoder // nil: it has none
}

// newCodec returns nil if objects of the type of obj are not read from streams.
func newCodec(obj runtime.Object) *codec {
	if isNil(obj) {
		return nil
	}
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	c := &codec{kind: kind, share: wire.NewShare()}
	if _, ok := obj.(*unstructured.Unstructured); ok {
		return c
	}
	typ, ok := typeOf(obj)
	if !ok {
		return nil
	}
	c.typ = typ
	if c.kind == "" {
		c.kind = typ.Name()
	}
	if d, err := wire.NewProtoDecoder(typ, nil, c.share); err == nil {
		c.protobuf = d
	}
	return c
}

// decode makes an object of what was sent.
func (c *codec) decode(o *wire.Object) (runtime.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.typ == nil && o.Format == wire.JSON:
		return c.unstructured(o)
	case c.typ == nil:
		return nil, fmt.Errorf("an object in protobuf, which cannot be unstructured: use a client for JSON")
	}
	obj := reflect.New(c.typ).Interface().(runtime.Object)
	var err error
	switch {
	case o.Format == wire.JSON:
		err = utiljson.Unmarshal(o.Raw, obj)
	case c.protobuf == nil:
		err = fmt.Errorf("an object in protobuf, which a %s cannot be read from: use a client for JSON", c.typ)
	default:
		err = c.protobuf.Decode(o, obj)
	}
	if err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{}) // as client-go has it
	return obj, nil
}

func (c *codec) unstructured(o *wire.Object) (runtime.Object, error) {
	content := map[string]any{}
	if err := utiljson.Unmarshal(o.Raw, &content); err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	if u.GetKind() == "" {
		if o.Kind == "" {
			return nil, fmt.Errorf("an object that does not say of which kind it is")
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
