// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
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

// patchLocked applies a patch. An apply patch creates a missing object.
func (f *Server) patchLocked(req Request, kind Kind, patchType types.PatchType, patch []byte) (runtime.Object, error) {
	gvr, key := req.Resource, objectKey(req.Namespace, req.Name)
	old, exists := f.objects[gvr][key]
	if patchType == types.ApplyYAMLPatchType {
		asJSON, err := yaml.YAMLToJSON(patch)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if patch = asJSON; !exists {
			return f.createFromLocked(req, kind, patch)
		}
		patchType = types.MergePatchType
	}
	if !exists {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), req.Name)
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var after []byte
	switch patchType {
	case types.JSONPatchType:
		var ops jsonpatch.Patch
		if ops, err = jsonpatch.DecodePatch(patch); err == nil {
			after, err = ops.Apply(before)
		}
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, patch)
	case types.StrategicMergePatchType:
		if _, ok := old.(runtime.Unstructured); ok {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", gvr.GroupResource(), req.Name,
				"a strategic merge patch needs a built-in kind", 0, true)
		}
		after, err = strategicpatch.StrategicMergePatch(before, patch, old)
	default:
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", gvr.GroupResource(), req.Name,
			"unknown patch type "+string(patchType), 0, true)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return f.updateFromLocked(req, kind, old, after)
}
