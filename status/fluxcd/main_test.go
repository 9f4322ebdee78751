// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fluxcd_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/engine"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/event"
	"github.com/fluxcd/cli-utils/pkg/kstatus/polling/statusreaders"
	"github.com/fluxcd/cli-utils/pkg/object"
	"go.uber.org/goleak"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	replicaSets = schema.GroupKind{Group: "apps", Kind: "ReplicaSet"}
	configMaps  = schema.GroupKind{Kind: "ConfigMap"}
	pods        = schema.GroupKind{Kind: "Pod"}
)

// mapper knows the kinds of the tests.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}})
	for _, kind := range []schema.GroupKind{replicaSets, configMaps, pods} {
		m.Add(kind.WithVersion("v1"), meta.RESTScopeNamespace)
	}
	return m
}

// theirs is a PollerEngine of cli-utils as its users make one.
func theirs(factory engine.ClusterReaderFactory) *engine.PollerEngine {
	m := mapper()
	generic := statusreaders.NewDefaultStatusReader(m)
	return &engine.PollerEngine{Mapper: m, DefaultStatusReader: generic, StatusReaders: []engine.StatusReader{generic}, ClusterReaderFactory: factory}
}

// play runs a test in a bubble, with an engine on an API server in memory.
func play(t *testing.T, test func(t *testing.T, api *fakeapi.Server, e *status.Engine), objects ...runtime.Object) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New()
		if err := api.Add(objects...); err != nil {
			t.Fatal(err)
		}
		var e *status.Engine
		h := hive.New(cells.FakeClientWith(func() *fakeapi.Server { return api }), cells.Status, cell.Invoke(func(got *status.Engine) { e = got }))
		quiet := slog.New(slog.DiscardHandler)
		if err := h.Start(quiet, t.Context()); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := h.Stop(quiet, context.Background()); err != nil {
				t.Error(err)
			}
		}()
		test(t, api, e)
	})
}

func idOf(kind schema.GroupKind, name string) object.ObjMetadata {
	return object.ObjMetadata{Namespace: "shop", Name: name, GroupKind: kind}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}

// set is a ReplicaSet that has one of two replicas.
func set() *appsv1.ReplicaSet {
	two := int32(2)
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web", Generation: 1},
		Spec:       appsv1.ReplicaSetSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}},
		Status:     appsv1.ReplicaSetStatus{Replicas: 2, FullyLabeledReplicas: 2, ReadyReplicas: 1, AvailableReplicas: 1, ObservedGeneration: 1},
	}
}

// setPod is a Pod of the ReplicaSet, which may crash again and again.
func setPod(crashes bool) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", Labels: map[string]string{"app": "web"},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set(), appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "c"}}},
	}
	if crashes {
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}
	}
	return p
}

// text is an event in short form.
func text(ev event.Event) string {
	switch ev.Type {
	case event.SyncEvent:
		return "synced"
	case event.ErrorEvent:
		return "error"
	}
	return ev.Resource.Identifier.Name + " " + string(ev.Resource.Status)
}
