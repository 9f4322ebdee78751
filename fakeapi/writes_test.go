// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package fakeapi_test

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	corev1apply "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/apiary-go/apiary/fakeapi"
)

func TestFieldSelectors(t *testing.T) {
	colored := widgets
	colored.SelectableFields = []string{".spec.color"}
	api := fakeapi.New(colored, gadgets)
	c := clientsOf(t, api)
	p := pod("a", "p")
	p.Spec = corev1.PodSpec{NodeName: "n", RestartPolicy: "Never", SchedulerName: "s", ServiceAccountName: "sa", HostNetwork: true}
	p.Status = corev1.PodStatus{Phase: "Running", NominatedNodeName: "m", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "e"}, Reason: "R", Type: "Normal",
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "p", UID: "u"}, ReportingController: "rc"}
	widget := custom(colored, "a", "w")
	if err := unstructured.SetNestedField(widget.Object, "red", "spec", "color"); err != nil {
		t.Fatal(err)
	}
	for _, obj := range []runtime.Object{
		p, event, widget, custom(gadgets, "", "g"),
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}, Type: "Opaque"},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "s"}, Spec: corev1.ServiceSpec{ClusterIP: "None", Type: "ClusterIP"}},
		&batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "j"}, Status: batchv1.JobStatus{Succeeded: 2}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NamespaceStatus{Phase: "Active"}},
	} {
		if err := api.Add(obj); err != nil {
			t.Fatal(err)
		}
	}
	core := func(name string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Version: "v1", Resource: name}
	}
	for _, test := range []struct {
		gvr      schema.GroupVersionResource
		selector string
		want     int // -1 is "not supported"
	}{
		{core("pods"), "metadata.name=p,metadata.namespace=a", 1},
		{core("pods"), "spec.nodeName=n,spec.restartPolicy=Never,spec.schedulerName=s,spec.serviceAccountName=sa", 1},
		{core("pods"), "spec.hostNetwork=true,status.phase=Running,status.podIP=10.0.0.1,status.nominatedNodeName=m,spec.host=n", 1},
		{core("pods"), "status.podIP=10.0.0.2", 0},
		{core("pods"), "spec.containers=c", -1},
		{core("nodes"), "spec.unschedulable=false", 1},
		{core("nodes"), "spec.unschedulable=true", 0},
		{core("nodes"), "status.phase=Running", -1},
		{core("events"), "involvedObject.kind=Pod,involvedObject.name=p,involvedObject.uid=u,reason=R,type=Normal,source=rc,reportingComponent=rc", 1},
		{core("events"), "involvedObject.kind=Node", 0},
		{core("secrets"), "type=Opaque", 1},
		{core("services"), "spec.clusterIP=None,spec.type=ClusterIP", 1},
		{core("namespaces"), "status.phase=Active", 1},
		{core("configmaps"), "data.x=y", -1},
		{batchv1.SchemeGroupVersion.WithResource("jobs"), "status.successful=2", 1},
		{widgets.GVR(), "spec.color=red", 1},
		{widgets.GVR(), "spec.color!=red", 0},
		{widgets.GVR(), "spec.size=1", -1},
		{gadgets.GVR(), "metadata.name=g", 1},
		{gadgets.GVR(), "metadata.namespace=", -1},
	} {
		list, err := c.dynamic.Resource(test.gvr).List(soon(t), metav1.ListOptions{FieldSelector: test.selector})
		switch {
		case test.want < 0 && apierrors.IsBadRequest(err):
		case test.want < 0 || err != nil:
			t.Errorf("%s %s: %v", test.gvr.Resource, test.selector, err)
		case len(list.Items) != test.want:
			t.Errorf("%s %s: %d objects", test.gvr.Resource, test.selector, len(list.Items))
		}
	}
}

// Writes of the object keep the status, writes of the status keep the rest, and only a
// change of the spec counts in the generation.
func TestStatusAndGeneration(t *testing.T) {
	plain := gadgets
	plain.NoStatus = true
	api := fakeapi.New(widgets, plain)
	c := clientsOf(t, api)
	ctx := soon(t)
	for _, test := range []struct {
		kind   fakeapi.Kind
		ns     string
		status bool
	}{{widgets, "a", true}, {plain, "", false}} {
		client := c.dynamic.Resource(test.kind.GVR()).Namespace(test.ns)
		obj := custom(test.kind, test.ns, "one")
		obj.Object["status"] = map[string]any{"ready": "created"}
		got, err := client.Create(ctx, obj, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, has := got.Object["status"]; has == test.status || got.GetGeneration() != 1 {
			t.Error(test.kind.Kind, got)
		}
		got.Object["status"] = map[string]any{"ready": "updated"}
		got.SetLabels(map[string]string{"x": "y"})
		if got, err = client.UpdateStatus(ctx, got, metav1.UpdateOptions{}); test.status != (err == nil) {
			t.Fatal(err)
		}
		if !test.status {
			continue
		}
		if ready, _, _ := unstructured.NestedString(got.Object, "status", "ready"); ready != "updated" || len(got.GetLabels()) > 0 || got.GetGeneration() != 1 {
			t.Error(got)
		}
		delete(got.Object, "status")
		got.Object["spec"] = map[string]any{"size": int64(2)}
		if got, err = client.Update(ctx, got, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if ready, _, _ := unstructured.NestedString(got.Object, "status", "ready"); ready != "updated" || got.GetGeneration() != 2 {
			t.Error(got)
		}
	}
}

// Apply reports conflicts, and removes fields that are not applied any more. A dry run
// changes nothing.
func TestApply(t *testing.T) {
	api := fakeapi.New()
	client := clientsOf(t, api).kubernetes.CoreV1().ConfigMaps("a")
	apply := func(manager string, force bool, data map[string]string, dryRun ...string) (*corev1.ConfigMap, error) {
		return client.Apply(soon(t), corev1apply.ConfigMap("one", "a").WithData(data), metav1.ApplyOptions{FieldManager: manager, Force: force, DryRun: dryRun})
	}
	if _, err := apply("m", false, map[string]string{"k": "1"}, metav1.DryRunAll); err != nil {
		t.Error(err)
	}
	if n := len(api.Summary()); n > 0 {
		t.Errorf("a dry run created objects of %d resources", n)
	}
	first, err := apply("m", false, map[string]string{"k": "1", "l": "1"})
	if err != nil || first.UID == "" || len(first.ManagedFields) != 1 {
		t.Fatal(first, err)
	}
	if same, err := apply("m", false, map[string]string{"k": "1", "l": "1"}); err != nil || same.ResourceVersion != first.ResourceVersion {
		t.Error(same, err)
	}
	if _, err := apply("n", false, map[string]string{"k": "2"}); !apierrors.IsConflict(err) {
		t.Error(err)
	}
	if _, err := apply("n", true, map[string]string{"k": "2"}); err != nil {
		t.Error(err)
	}
	got, err := apply("m", false, nil)
	if err != nil || len(got.Data) != 1 || got.Data["k"] != "2" {
		t.Error(got, err)
	}
}
