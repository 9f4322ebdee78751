// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cilium/hive"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/internal/cli"
	"github.com/apiary-go/apiary/internal/clitest"
)

// testHive is the application on an API server in memory.
func testHive(api *fakeapi.Server, out io.Writer, args ...string) (*hive.Hive, error) {
	h := hive.NewWithOptions(cli.HiveOptions(),
		cells.FakeClientWith(func() *fakeapi.Server { return api }),
		application(out, &demoServer{}),
	)
	h.Viper().Set("log-level", "error")
	for i := 0; i+1 < len(args); i += 2 {
		if h.Viper().AllSettings()[args[i]] == nil {
			return nil, fmt.Errorf("there is no flag %s", args[i])
		}
		h.Viper().Set(args[i], args[i+1])
	}
	return h, nil
}

// app is the application in a bubble of synctest, in which time passes only when
// everything waits for it.
type app struct {
	t    *testing.T
	hive *hive.Hive
	api  *fakeapi.Server
	out  *clitest.Output
}

// inApp runs a test, which calls start, in a bubble.
func inApp(t *testing.T, args []string, test func(a *app)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &app{t: t, api: fakeapi.New(), out: clitest.NewOutput()}
		var err error
		if a.hive, err = testHive(a.api, a.out, args...); err != nil {
			t.Fatal(err)
		}
		test(a)
		begin := time.Now()
		if err := a.hive.Stop(slog.New(slog.DiscardHandler), context.Background()); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
}

func (a *app) start() {
	a.t.Helper()
	if err := a.hive.Start(slog.New(slog.DiscardHandler), a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
}

// after lets time pass, and returns what was printed meanwhile.
func (a *app) after(d time.Duration) string {
	a.t.Helper()
	time.Sleep(d) // of the bubble
	synctest.Wait()
	return a.out.Take()
}

func (a *app) add(objects ...runtime.Object) {
	a.t.Helper()
	if err := a.api.Add(objects...); err != nil {
		a.t.Fatal(err)
	}
}

func (a *app) expect(text string, parts ...string) {
	a.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			a.t.Errorf("%q is not in what was printed:\n%s", part, text)
		}
	}
}

func TestApplicationFollows(t *testing.T) {
	inApp(t, nil, func(a *app) {
		a.add(service("shop", "web", "app=web"), pod("shop", "web-1", "app=web", true))
		a.start()
		text := a.after(time.Second)
		a.expect(text, "of http://fake.invalid by fake", "1 service, 1 pod", "shop/web   1/1     web-1   Running")
		if strings.Contains(text, "*") {
			t.Errorf("the state at the start is marked as news:\n%s", text)
		}
		if text := a.after(time.Minute); text != "" {
			t.Errorf("nothing happened, and this was printed:\n%s", text)
		}

		// What happens at once is one block.
		a.add(pod("shop", "web-2", "app=web", false), pod("shop", "web-2", "app=web", true))
		if err := a.api.Remove(pod("shop", "web-1", "", true)); err != nil {
			t.Fatal(err)
		}
		text = a.after(time.Minute)
		a.expect(text, "* shop/web   1/1     web-2   Running", "web-1 is gone")
		if n := strings.Count(text, "READY"); n != 1 {
			t.Errorf("%d blocks, want 1:\n%s", n, text)
		}

		// What was not drawn yet is drawn at the end.
		a.add(pod("shop", "web-3", "app=web", false))
		a.after(0)
		t.Cleanup(func() { a.expect(a.out.String(), "web-3 joined: Pending") })
	})
}

func TestApplicationJSON(t *testing.T) {
	inApp(t, []string{"output", "json"}, func(a *app) {
		a.add(service("shop", "web", "app=web"), pod("shop", "web-1", "app=web", true))
		a.start()
		text := a.after(time.Second)
		a.expect(text, `"change":"service-added"`, `"change":"pod-joined"`, `"change":"synced"`, `"change":"health"`, `"level":"ok"`)
		a.add(pod("shop", "web-1", "app=web", false))
		a.expect(a.after(0), `"change":"pod-updated"`) // at once
	})
}

// A server that forbids pods: services are shown, and what is forbidden; and pods as
// soon as they are allowed.
func TestApplicationForbidden(t *testing.T) {
	inApp(t, nil, func(a *app) {
		a.add(service("shop", "web", "app=web"), pod("shop", "web-1", "app=web", true))
		a.api.Intercept(func(_ context.Context, r fakeapi.Request) error {
			if r.Resource.Resource != "pods" {
				return nil
			}
			return apierrors.NewForbidden(r.Resource.GroupResource(), "",
				fmt.Errorf("User %q cannot %s resource %q", "jane", r.Verb, r.Resource.Resource))
		})
		a.start()
		text := a.after(3 * time.Second)
		a.expect(text, "1 service, pods not known", "! Pod.v1", "forbidden", `User "jane" cannot`, `resource "pods"`,
			"shop/web   ?", "(not known yet)", "by a role and a role binding")
		if text := a.after(time.Minute); strings.Count(text, "\n") > 10 {
			t.Errorf("it says over and over again that nothing changed:\n%s", text)
		}

		a.api.Intercept(nil)
		a.expect(a.after(2*time.Minute), "healthy again", "shop/web   1/1     web-1   Running")
	})
}

// A server that is not there, and then is.
func TestApplicationRefused(t *testing.T) {
	inApp(t, []string{"output", "json"}, func(a *app) {
		a.add(service("shop", "web", "app=web"))
		a.api.Intercept(func(context.Context, fakeapi.Request) error { return errors.New("connection refused") })
		a.start()
		a.expect(a.after(10*time.Second), `"level":"degraded","message":"Service.v1: cannot list: `, `: discovery: Get \"http`, "connection refused")
		a.api.Intercept(nil)
		a.expect(a.after(2*time.Minute), `"level":"ok"`, `"service":"web"`, `"change":"synced"`)
	})
}

func TestApplicationEndsWithoutOutput(t *testing.T) {
	h, err := testHive(fakeapi.New(), clitest.BrokenPipe{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Run(slog.New(slog.DiscardHandler)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}

// An output that is not read, as of a pager that waits, does not hold up the end.
func TestApplicationEndsWithBlockedOutput(t *testing.T) {
	reader, writer := io.Pipe()
	h, err := testHive(fakeapi.New(), writer, "output", "json")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if err := h.Start(log, t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Read(make([]byte, 1)); err != nil { // of a line; nobody reads the rest
		t.Fatal(err)
	}
	if err := h.Stop(log, t.Context()); !errors.Is(err, cli.ErrBlocked) {
		t.Errorf("it stopped with %v", err)
	}
	if err := reader.Close(); err != nil { // ends the write
		t.Fatal(err)
	}
}

func TestRunFor(t *testing.T) {
	h, err := testHive(fakeapi.New(), io.Discard, "run-for", "50ms")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := h.Run(slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("it ended after %s", took)
	}
}

// The inspection command constructs everything and starts nothing.
func TestInspection(t *testing.T) {
	api := fakeapi.New()
	h, err := testHive(api, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := h.PrintObjects(&text, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"k8s-service-v1", "k8s-pod-v1", "follow", "demo", "run-for", "health", "logger"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("%s is missing:\n%s", part, &text)
		}
	}
	if requests := api.Requests(); len(requests) > 0 {
		t.Errorf("%d requests were made", len(requests))
	}
}

// The program runs the API server as a child process: it does not contain it.
func TestIsLight(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		for _, heavy := range []string{"k8s.io/kubernetes/", "k8s.io/apiserver/", "go.etcd.io/"} {
			if strings.HasPrefix(dep, heavy) {
				t.Errorf("it depends on %s", dep)
			}
		}
	}
}

// The fields of the JSON lines, and the changes, are in the README.
func TestReadmeNamesTheFields(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	names := []changeKind{serviceAdded, serviceUpdated, serviceRemoved, podJoined, podUpdated, podLeft, synced, healthChanged}
	for field := range reflect.TypeFor[change]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, changeKind(name))
	}
	for _, name := range names {
		if !strings.Contains(string(data), "| `"+string(name)+"`") {
			t.Errorf("%s is missing", name)
		}
	}
}

// A level of the log that the user asked for is kept, on a terminal too.
func TestQuieten(t *testing.T) {
	for set, want := range map[string]string{"": "error", "debug": "debug"} {
		t.Setenv("LOG_LEVEL", set)
		h := hive.New(cells.LoggerWith(loggerDefaults), followCell)
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		h.RegisterFlags(flags)
		quieten(h.Viper())
		if got := h.Viper().GetString("log-level"); got != want {
			t.Errorf("LOG_LEVEL=%s: %s, want %s", set, got, want)
		}
	}
}

// What a user gets wrong is said in a line.
func TestCommandErrors(t *testing.T) {
	t.Setenv("KUBECONFIG", "")
	missing := filepath.Join(t.TempDir(), "kubeconfig")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no such kubeconfig": {[]string{"--k8s-kubeconfig", missing}, "kubeconfig of --k8s-kubeconfig=" + missing},
		"context alone":      {[]string{"--k8s-context", "x"}, "set --k8s-kubeconfig"},
		"output":             {[]string{"--k8s-api-server", "127.0.0.1:1", "--output", "xml"}, "--output=xml: want table or json"},
		"level":              {[]string{"--k8s-api-server", "127.0.0.1:1", "--log-level", "loud"}, "--log-level=loud"},
		"run-for":            {[]string{"--k8s-api-server", "127.0.0.1:1", "--run-for", "-1s"}, "must not be negative"},
		"before the server":  {[]string{"--output", "xml", "--run-for", "-1s", "--log-level", "loud"}, "--log-level=loud: want trace, debug, info, warn or error\n--output=xml: want table or json\n--run-for=-1s"},
		"burst":              {[]string{"--k8s-client-burst", "0"}, "--k8s-client-burst=0: must be"},
		"unknown flag":       {[]string{"--nope"}, "see example --help"},
		"argument":           {[]string{"nope"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, notes bytes.Buffer
			cmd := newCommand(&out, &notes)
			cmd.SetArgs(test.args)
			cmd.SetOut(&out)
			cmd.SetErr(&notes)
			err := cmd.Execute()
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "populate") {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if out.Len()+notes.Len() > 0 {
				t.Errorf("it printed:\n%s%s", &out, &notes)
			}
		})
	}
}

// Nothing goes wrong in the demonstration for some days, and it ends.
func TestWorkload(t *testing.T) {
	inApp(t, nil, func(a *app) {
		a.start()
		client, err := kubernetes.NewForConfig(a.api.Config())
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		w := newWorkload(client, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(a.t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			w.run(ctx, time.Second)
		}()
		text := a.after(3 * time.Second)
		a.expect(text, "demo/bank", "demo/cart", "demo/web-canary", "web-1", "Running")
		days := 3 * time.Duration(len(w.day())) * time.Second
		text = a.after(days)
		a.expect(text, "web-3 joined: Pending", "web-1 is gone", "CrashLoopBackOff", "left: its labels changed", "service deleted")
		services, err := client.CoreV1().Services(demoNamespace).List(a.t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(services.Items); n > 5 {
			t.Errorf("there are %d services: they pile up", n)
		}
		pods, err := client.CoreV1().Pods(demoNamespace).List(a.t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(pods.Items); n > 6 {
			t.Errorf("there are %d pods: they pile up", n)
		}
		cancel()
		<-ended
		if log.Len() > 0 {
			t.Errorf("it logged:\n%s", &log)
		}
	})
}
