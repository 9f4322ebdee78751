// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/script"
	"github.com/cilium/hive/script/scripttest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/resource"
)

// scriptHive returns a hive with commands: pods are used, and everything else is not.
func scriptHive(client cell.Cell, more ...cell.Cell) *hive.Hive {
	return hive.New(append(more, client, ScriptCommands, ScriptClientCommands, Status,
		Resource[*corev1.Pod](impatient(), With(resource.WithName("pods"))),
		Resource[*corev1.ConfigMap](),
		Resource[*corev1.Secret](impatient()),
		Resource[*unstructured.Unstructured](Unstructured("secrets"), With(resource.WithName("raw secrets"))),
		Resource[*metav1.PartialObjectMetadata](Metadata("secrets"), With(resource.WithName("metadata of secrets"))),
		cell.Invoke(func(struct {
			cell.In
			ConfigMaps resource.Resource[*corev1.ConfigMap]
			Secrets    resource.Resource[*corev1.Secret]
			Raw        resource.Resource[*unstructured.Unstructured]
			Metadata   resource.Resource[*metav1.PartialObjectMetadata]
		}) {
		}),
		cell.Invoke(func(lc cell.Lifecycle, pods resource.Resource[*corev1.Pod]) {
			ctx, cancel := context.WithCancel(context.Background())
			lc.Append(cell.Hook{
				OnStart: func(cell.HookContext) error {
					pods.Observe(ctx, func(ev resource.Event[*corev1.Pod]) { ev.Done(nil) }, nil)
					return nil
				},
				OnStop: func(cell.HookContext) error { cancel(); return nil },
			})
		}),
		cell.Invoke(func(p Params) error {
			_, err := NewMirror("mirror", p, mirror.InformerConfig[*corev1.Pod]{
				Handler:  mirror.ResourceEventHandlerFuncs[*corev1.Pod]{},
				Settings: informer.Settings{Backoff: informer.Backoff{Initial: time.Millisecond, Denied: time.Millisecond}},
			})
			return err
		}),
	)...)
}

func scriptEngine(t testing.TB, h *hive.Hive) *script.Engine {
	t.Cleanup(func() {
		if err := h.Stop(quiet(), context.Background()); err != nil {
			t.Error(err)
		}
	})
	cmds, err := h.ScriptCommands(quiet())
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(cmds, script.DefaultCmds())
	return &script.Engine{Cmds: cmds, RetryInterval: 10 * time.Millisecond}
}

// The scripts in testdata/script show and check each command.
func TestScripts(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel) // not defer: the scripts run in parallel, after this function
	scripttest.Test(t, ctx, func(t testing.TB, _ []string) *script.Engine {
		return scriptEngine(t, scriptHive(FakeClientWith(func() *fakeapi.Server { return fakeapi.New(widgets) })))
	}, nil, "testdata/script/*.txtar")
}

// runScript runs lines of a script, and returns its log.
func runScript(t *testing.T, h *hive.Hive, lines ...string) (string, error) {
	t.Helper()
	e := scriptEngine(t, h)
	s, err := script.NewState(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for _, line := range lines {
		if err := e.ExecuteLine(s, line, &log); err != nil {
			return log.String(), err
		}
	}
	return log.String(), s.CloseAndWait(&log)
}

// Commands of a disabled client fail with the reason.
func TestScriptDisabled(t *testing.T) {
	for _, line := range []string{
		"resource/wait-synced", "resource/wait-synced pods", "resource/list pods", "resource/get pods a/b", "resource/events pods",
		"resource/resync pods", "resource/record pods file", "k8s/get v1.pods a/b", "status/wait --timeout=100ms pods/a/b",
	} {
		t.Setenv("KUBECONFIG", "")
		_, err := runScript(t, scriptHive(Client), "hive/start", line)
		if err == nil || !strings.Contains(err.Error(), ErrNotConfigured.Error()) {
			t.Errorf("%s: got %v, want an error with %q", line, err, ErrNotConfigured)
		}
	}
}

// Commands that make no sense say why.
func TestScriptRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ lines, want string }{
		{"resource/record pods f; resource/record pods g", "resource pods cannot be recorded: it is already recorded to "},
		{"resource/record pods --stop", "resource pods is not recorded"},
		{"resource/record pods " + dir + "/nothing/f", "no such file"},
		{"resource/record pods f --without-fields=metadata", "a replay needs this field"},
		{"resource/record names f", "mirror names cannot be recorded: an object that is made of a Secret can have its data"},
		{"status/wait --for=NotFound pods/shop/web; resource/get 'Pod shop/web' shop/web", "Pod shop/web is a status scope: the status engine keeps only the fields that its rules read: use status/wait"},
		{"status/wait --for=NotFound pods/shop/web; resource/events 'Pod shop/web'", "is a status scope"},
		{"resource/list mirror", "mirror is a mirror: only resources have a store"},
	} {
		secrets := cell.Invoke(func(p Params) error {
			type name struct{ metav1.ObjectMeta }
			_, err := NewMirror("names", p, mirror.InformerConfig[*name]{Handler: mirror.ResourceEventHandlerFuncs[*name]{}}, From[*corev1.Secret]())
			return err
		})
		_, err := runScript(t, scriptHive(FakeClient, secrets), append([]string{"hive/start"}, strings.Split(tt.lines, "; ")...)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.lines, err, tt.want)
		}
	}
}

// A hive without a fake server has no commands for one, and one without a status engine has
// no status/wait.
func TestScriptCommandsOfTheHive(t *testing.T) {
	cmds, err := hive.New(Client, ScriptCommands, ScriptClientCommands).ScriptCommands(quiet())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, slices.Sorted(maps.Keys(cmds)), "hive", "hive/start", "hive/stop", "k8s/add", "k8s/apply", "k8s/delete", "k8s/get", "k8s/list",
		"k8s/update", "resource/events", "resource/get", "resource/list", "resource/record", "resource/resync", "resource/show", "resource/wait-synced", "resources")
}

// Each command and each flag has a help.
func TestScriptHelp(t *testing.T) {
	log, err := runScript(t, scriptHive(FakeClient), "help -v .")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"k8s/forbid", "status/wait", "--columns", "--show-redacted"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the help:\n%s", want, log)
		}
	}
}
