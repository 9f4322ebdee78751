// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package status_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/apiary-go/apiary/status"
)

// On client-go's fakes, which do not stream initial events and say so, the first status
// takes no time, by objects and by metadata.
func TestEngineOnClientGosFakes(t *testing.T) {
	for _, kind := range []string{"ConfigMap", "Secret"} {
		synctest.Test(t, func(t *testing.T) {
			gvk := schema.GroupVersionKind{Version: "v1", Kind: kind}
			mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}})
			mapper.Add(gvk, meta.RESTScopeNamespace)
			one := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "one", ResourceVersion: "1"}}
			one.SetGroupVersionKind(gvk)
			scheme := metadatafake.NewTestScheme()
			if err := metav1.AddMetaToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			lists := map[schema.GroupVersionResource]string{
				{Version: "v1", Resource: "configmaps"}: "ConfigMapList", {Version: "v1", Resource: "secrets"}: "SecretList",
			}
			engine, err := status.New(status.Config{
				Dynamic:  dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, object(gvk.GroupKind(), "shop", "one", nil)),
				Metadata: metadatafake.NewSimpleMetadataClient(scheme, one),
				Mapping:  status.ByMapper(mapper),
				Linger:   -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			statuses, err := engine.Wait(ctx, []status.ID{{Namespace: "shop", Name: "one", GroupKind: gvk.GroupKind()}}, status.All(status.Current))
			if took := time.Since(start); err != nil || took > time.Second {
				t.Errorf("%s: %v after %v: %v", kind, statuses, took, err)
			}
			if err := engine.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
