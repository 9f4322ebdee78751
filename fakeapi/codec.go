// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// fakeFormat is the format of a response.
type fakeFormat struct {
	mediaType string
	protobuf  bool
	metadata  bool // objects as PartialObjectMetadata
}

func mediaOf(contentType string) string {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return contentType
	}
	return media
}

// negotiate returns the first format that the client accepts and the kind has.
func negotiate(r *http.Request, kind Kind) fakeFormat {
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(accept))
		if err != nil {
			continue
		}
		out := fakeFormat{mediaType: media}
		switch as := params["as"]; as {
		case "":
		case "PartialObjectMetadata", "PartialObjectMetadataList":
			out.metadata = true
		default:
			continue
		}
		switch {
		case media == runtime.ContentTypeProtobuf && (out.metadata || scheme.Scheme.Recognizes(kind.GVK())):
			out.protobuf = true
			return out
		case media == runtime.ContentTypeJSON, media == "*/*":
			out.mediaType = runtime.ContentTypeJSON
			return out
		}
	}
	return fakeFormat{mediaType: runtime.ContentTypeJSON}
}

var protobufSerializer = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

// encode encodes an object, a list or a Status.
func (o fakeFormat) encode(obj runtime.Object) ([]byte, error) {
	if o.metadata {
		obj = metadataOf(obj)
	}
	if _, ok := obj.(runtime.Unstructured); !ok && o.protobuf {
		var buf bytes.Buffer
		err := protobufSerializer.Encode(obj, &buf)
		return buf.Bytes(), err
	}
	return json.Marshal(obj)
}

// metadataOf returns the metadata of an object, or of the objects in a list.
func metadataOf(obj runtime.Object) runtime.Object {
	if meta.IsListType(obj) {
		list := &metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
			Items:    []metav1.PartialObjectMetadata{},
		}
		if l, err := meta.ListAccessor(obj); err == nil {
			list.ResourceVersion, list.Continue = l.GetResourceVersion(), l.GetContinue()
			list.RemainingItemCount = l.GetRemainingItemCount()
		}
		_ = meta.EachListItem(obj, func(item runtime.Object) error {
			list.Items = append(list.Items, *metadataOf(item).(*metav1.PartialObjectMetadata))
			return nil
		})
		return list
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return obj // a Status
	}
	out := meta.AsPartialObjectMetadata(accessor)
	out.TypeMeta = metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: "meta.k8s.io/v1"}
	return out
}

// makeList makes the list object of a kind.
func makeList(kind Kind, objects []runtime.Object, list metav1.ListMeta) (runtime.Object, error) {
	gvk := listOf(kind.GVK())
	var out runtime.Object = &unstructured.UnstructuredList{Object: map[string]any{}}
	if scheme.Scheme.Recognizes(kind.GVK()) {
		var err error
		if out, err = scheme.Scheme.New(gvk); err != nil {
			return nil, err
		}
	}
	if err := meta.SetList(out, objects); err != nil {
		return nil, err
	}
	if !kind.traits.custom {
		// Items of Go types have no kind, like those of a real server. They are copies.
		_ = meta.EachListItem(out, func(item runtime.Object) error {
			item.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
			return nil
		})
	}
	accessor, err := meta.ListAccessor(out)
	if err != nil {
		return nil, err
	}
	accessor.SetResourceVersion(list.ResourceVersion)
	accessor.SetContinue(list.Continue)
	accessor.SetRemainingItemCount(list.RemainingItemCount)
	out.GetObjectKind().SetGroupVersionKind(gvk)
	return out, nil
}
