// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/informer/push"
	"github.com/apiary-go/apiary/status"
)

// inspected is an application with everything that has hooks.
func inspected(client cell.Cell) *hive.Hive {
	return hive.New(client, Status, Metrics, StatusServerWith(StatusServerConfig{StatusAddress: "127.0.0.1:0"}),
		cell.Provide(func() *inventory { return &inventory{calls: make(chan string, 100)} }, func() cell.Health { return newHealthLog() }),
		Push[*corev1.Pod, *inventory](), StatusHealth("app"),
		cell.Module("agent", "Follows objects",
			cell.Invoke(func(p Params, _ *status.Engine) error {
				if _, err := NewResource[*corev1.Service](p, InNamespace("shop")); err != nil {
					return err
				}
				_, err := NewMirror("database", p, mirror.InformerConfig[*corev1.Pod]{Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{}})
				return err
			}),
		))
}

// Hive's inspection shows the kind and the object type of each hook, and its log of hooks
// the name, also while the client is disabled.
func TestInspectionOfHooks(t *testing.T) {
	noCluster(t)
	for name, client := range map[string]cell.Cell{"enabled": FakeClient, "disabled": Client} {
		t.Run(name, func(t *testing.T) {
			var out, log bytes.Buffer
			if err := inspected(client).PrintObjects(&out, quiet()); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"cells.resourceHook[*k8s.io/api/core/v1.Service].Stop (agent)",
				"cells.mirrorHook[*k8s.io/api/core/v1.Pod].Start (agent)",
				"cells.pushHook[*k8s.io/api/core/v1.Pod].Start (k8s-push-pod-v1)",
				"Push of Pod v1 to a consumer",
				"cells.statusHook.Stop (k8s-status)",
				"cells.httpServer.Start (k8s-status-server)",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the inspection lacks %q", want)
				}
			}
			if functions := regexp.MustCompile(`• cells\..*func\d.*`).FindAllString(out.String(), -1); len(functions) > 0 {
				t.Errorf("hooks without a name: %q", functions)
			}
			if t.Failed() {
				t.Log(out.String())
			}

			h := inspected(client)
			verbose := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			if err := h.Start(verbose, t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := h.Stop(verbose, t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"resource Service.v1", "mirror database", "push Pod.v1", "status engine", "status health app", "metrics of resources"} {
				if !strings.Contains(log.String(), `detail="`+want+`"`) {
					t.Errorf("the log lacks %q", want)
				}
			}
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "hook executed") && !strings.Contains(line, "detail=") {
					t.Errorf("a hook without a name: %s", line)
				}
			}
		})
	}
}

// Titles of modules are as hive wants them, and long ones that begin alike differ.
func TestTitles(t *testing.T) {
	expect(t, []string{moduleID("Pod.v1"), moduleID("Deployment.v1.apps"), moduleID("CiliumClusterwideNetworkPolicy.v2.cilium.io")},
		"k8s-pod-v1", "k8s-deployment-v1-apps", "k8s-cilium-clusterwide-179fe4c8")
	long := "resource " + strings.Repeat("x", 80)
	for _, title := range []func(string) string{moduleID, moduleDescription} {
		if a, b := title(long+"a"), title(long+"b"); a == b || len(a) > 80 {
			t.Errorf("got %q and %q", a, b)
		}
		if a, b := title("short"), title("short"); a != b {
			t.Errorf("got %q and %q", a, b)
		}
	}
	// Hive panics if it does not accept them.
	Resource[*unstructured.Unstructured](Unstructured(widgets.GVK()), WithLabelSelector(strings.Repeat("x", 60)+"=a"))
	Push[*unstructured.Unstructured, push.BatchConsumer[*unstructured.Unstructured]](Unstructured(widgets.GVK()))
}
