// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/cilium/hive/cell"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/mirror"
	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// steady removes what is random in the times of failures.
func steady() informer.Settings {
	lists, err := informer.NewListBudget(16, 0)
	if err != nil {
		panic(err)
	}
	return informer.Settings{Backoff: informer.Backoff{Jitter: -1}, ListBudget: lists}
}

// refused is the error of a dial while nobody listens.
var refused = &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6443}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// trouble is something that a status page shows.
type trouble struct {
	api      *fakeapi.Server
	disabled bool
	kind     fakeapi.Kind
	mapFull  bool // the consumer fails
	later    func(*trouble)

	log  *slog.Logger // nil: nothing is logged
	more []cell.Cell
}

// follow starts a hive with t, lets some minutes pass, and calls then with all that it
// follows. It runs in a bubble of synctest.
func (tr *trouble) follow(t *testing.T, then func(*Resources)) {
	t.Helper()
	client := ClientFrom(tr.api.Config())
	if tr.disabled {
		client = Client
	}
	for _, p := range []string{"web", "cart"} {
		if err := tr.api.Add(pod("shop", p)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all *Resources
	settings := With(resource.WithSettings(steady()))
	h := hive.New(client, cell.Group(tr.more...),
		Resource[*corev1.Pod](InNamespace("shop"), settings), Resource[*appsv1.Deployment](), Resource[*unstructured.Unstructured](Unstructured(tr.kind.GVK()), settings),
		cell.Invoke(func(p Params, r *Resources, pods resource.Resource[*corev1.Pod], _ resource.Resource[*appsv1.Deployment], widgets resource.Resource[*unstructured.Unstructured]) error {
			all = r
			go func() {
				for e := range pods.Events(ctx, resource.WithSubscriberName("programmer")) {
					time.Sleep(time.Millisecond) // the watch has begun
					if tr.mapFull && e.Key.Name == "web" {
						e.Done(errors.New("program the datapath: map full"))
					} else {
						e.Done(nil)
					}
				}
			}()
			go func() { _, _ = widgets.Store(ctx) }()
			if tr.disabled {
				return nil
			}
			_, err := NewMirror("pods in the database", p, mirror.InformerConfig[*corev1.Pod]{Settings: steady(), Handler: mirror.ResourceEventHandlerFuncs[*corev1.Pod]{}})
			return err
		}))
	log := cmp.Or(tr.log, quiet())
	if err := h.Start(log, ctx); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Second) // not when a bookmark is sent
	if tr.later != nil {
		tr.later(tr)
	}
	time.Sleep(2 * time.Minute)
	synctest.Wait()
	then(all)
	cancel()
	tr.api.Disconnect()
	if err := h.Stop(log, context.Background()); err != nil {
		t.Error(err)
	}
}

// statusOf is a status engine that watches objects.
func statusOf(ids ...status.ID) []cell.Cell {
	return []cell.Cell{
		StatusWith(status.Config{Backoff: steady().Backoff, ListBudget: steady().ListBudget}),
		cell.Invoke(func(lc cell.Lifecycle, engine *status.Engine) {
			var watch *status.Watch
			lc.Append(cell.Hook{
				OnStart: func(cell.HookContext) (err error) {
					watch, err = engine.Watch(context.Background(), ids...)
					return err
				},
				OnStop: func(cell.HookContext) error {
					watch.Close()
					return nil
				},
			})
		}),
	}
}

// westOf is a cluster with this fault, and its pods, which are used.
func westOf(fault func(context.Context, fakeapi.Request) error) []cell.Cell {
	api := fakeapi.New()
	api.Intercept(fault)
	return []cell.Cell{
		NamedFakeClient("west", api),
		ResourceAs(func(r resource.Resource[*corev1.Pod]) westPods { return r },
			OfCluster("west"), With(resource.WithName("Pod.v1"), resource.WithSettings(steady()))),
		cell.Invoke(func(pods westPods) {
			go func() { _, _ = pods.Store(context.Background()) }()
		}),
	}
}

// troubles are what the golden files show.
func troubles() map[string]*trouble {
	fine := func() *trouble { return &trouble{api: fakeapi.New(widgets), kind: widgets} }
	fails, down, forbids, lacks, disabled, hook, scope := fine(), fine(), fine(), fine(), fine(), fine(), fine()
	fails.mapFull = true
	down.later = func(tr *trouble) {
		tr.api.Intercept(func(context.Context, fakeapi.Request) error { return refused })
		tr.api.Disconnect()
	}
	forbids.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "pods" {
			return forbidden(r)
		}
		return nil
	})
	hook.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "widgets" {
			return apierrors.NewInternalError(errors.New(`conversion webhook for example.com/v1, Kind=Widget failed: Post "https://hooks.example.svc:443/convert": connection refused`))
		}
		return nil
	})
	scope.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
		if r.Resource.Resource == "configmaps" {
			return forbidden(r)
		}
		return nil
	})
	scope.more = statusOf(idOf("Pod", "shop", "web"), idOf("ConfigMap", "shop", "settings"))
	clusters := fine()
	clusters.more = westOf(func(_ context.Context, r fakeapi.Request) error { return forbidden(r) })
	lacks.kind = gadgets
	disabled.disabled = true
	return map[string]*trouble{
		"fine": fine(), "consumer-fails": fails, "server-down": down, "forbidden": forbids, "not-installed": lacks, "disabled": disabled, "webhook": hook,
		"status-scope": scope, "clusters": clusters,
	}
}

// request is a request for the page on a loopback address.
func request(path string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:9090"+path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9090}
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
}

func load(t *testing.T, page http.Handler, path string, header ...string) string {
	t.Helper()
	w := httptest.NewRecorder()
	page.ServeHTTP(w, request(path, header...))
	if w.Code != http.StatusOK {
		t.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

var (
	sites    = regexp.MustCompile(`[\w./-]*page_rig_test\.go:\d+`)       // where tests subscribe
	timeouts = regexp.MustCompile(`timeout=\w+(&(amp;)?)timeoutSeconds`) // random
	seconds  = regexp.MustCompile(`timeoutSeconds=\d+`)
)

// expectGolden compares got with a file, or writes it with -update.
func expectGolden(t *testing.T, name, got string) {
	t.Helper()
	got = seconds.ReplaceAllString(timeouts.ReplaceAllString(got, "timeout=N${1}timeoutSeconds"), "timeoutSeconds=N")
	got = sites.ReplaceAllString(strings.NewReplacer(pageStyle, "…", pageScript, "…").Replace(got), "page_rig_test.go:N")
	file := filepath.Join("testdata", "page", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs; go test -update writes it. Got:\n%s", file, got)
	}
}

// examplePage is the page with a program of a fixed name.
func examplePage(all *Resources) *statusPage {
	p := newStatusPage(all)
	p.program = "agent on node-1"
	return p
}
