// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

const signIn = `
<!DOCTYPE html><html><head>
<title>Sign in &middot;
  example.com</title></head><body><input name="csrf" value="s3cr3t">` + "</body></html>"

// strangers are answers of something else than an API server.
var strangers = map[string]struct {
	code        int
	typ, body   string
	cause       informer.Cause
	says, lacks string
}{
	"sign-in page": {
		200, "text/html; charset=utf-8", signIn,
		informer.CauseNotAPIServer, `HTTP 2xx with text/html "Sign in · example.com" (check the server's address: a proxy`, "s3cr3t",
	},
	"text": {
		200, "text/plain", "default backend\npassword: s3cr3t",
		informer.CauseNotAPIServer, `HTTP 2xx with text/plain (check`, "s3cr3t",
	},
	"short text": {200, "text/plain", "OK", informer.CauseNotAPIServer, `with text/plain (check`, "byte"},
	"YAML": {
		200, "application/yaml", "apiVersion: v1\nkind: List\nitems:\n- data: s3cr3t",
		informer.CauseNotAPIServer, `with text/plain (check`, "s3cr3t",
	},
	"refused by a page": {
		403, "text/html", signIn,
		informer.CauseForbidden, `HTTP 403 with text/html "Sign in · example.com" (check the server's address: a proxy`, "s3cr3t",
	},
	"a load balancer without servers": {
		502, "text/html", "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>" + strings.Repeat("nginx ", 100) + "</body></html>",
		informer.CauseServer, `HTTP 502 with text/html "502 Bad Gateway" (check`, "nginx",
	},
	"a long text": {
		503, "text/plain", "upstream connect error\n" + strings.Repeat("reset ", 100),
		informer.CauseServer, `HTTP 503 with text/plain "upstream connect error" (check`, "reset",
	},
	"an unknown path": {404, "text/plain", "404 page not found", informer.CauseNotInstalled, "the requested resource (get pods) (install the custom resource definition", "HTTP"},
}

// What something else than an API server answers is said with its status and media type,
// and no more of it than its title or its first line.
func TestStrangeAnswers(t *testing.T) {
	for name, a := range strangers {
		for _, format := range formats {
			for _, streamed := range []bool{false, true} {
				t.Run(name+" "+format+" "+strconv.FormatBool(streamed), func(t *testing.T) {
					lw := listWatchOf(t, format, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.Header().Set("Content-Type", a.typ)
						w.WriteHeader(a.code)
						_, _ = w.Write([]byte(a.body))
					}))
					mode := informer.ListPaged
					if streamed {
						mode = informer.ListStreamed
					}
					failure, log := firstFailure(t, lw, mode)
					if failure.Cause != a.cause {
						t.Errorf("%v is %q, want %q", failure.Err, failure.Cause, a.cause)
					}
					if !strings.Contains(log, a.says) || strings.Contains(log, a.lacks) {
						t.Errorf("got %s\nwant %s", log, a.says)
					}
				})
			}
		}
	}
}

// firstFailure is what a Reflector backs off for, and its log until then.
func firstFailure(t *testing.T, lw *source.ListWatch, mode informer.ListMode) (failure informer.BackingOff, log string) {
	t.Helper()
	var out bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
		Name: "pods", Source: source.FromListerWatcher[*corev1.Pod](lw, nil), Sink: informertest.NewChanSink[*corev1.Pod](), Settings: informer.Settings{Lists: mode},
		Observer: informer.Observers(informer.LogObserver(slog.New(slog.NewTextHandler(&out, nil))),
			informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.Occurrence) {
				if o, ok := o.(informer.BackingOff); ok {
					failure = o
					cancel()
				}
			})),
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Run(ctx)
	return failure, strings.ReplaceAll(out.String(), `\"`, `"`)
}

// An empty list is one only if it is said to be a list.
func TestEmptyAnswer(t *testing.T) {
	for _, format := range formats {
		lw := answers{format: format}.listWatch(t)
		_, _, err := listedBy(t, source.FromListerWatcher[*corev1.Pod](lw, nil))
		if informer.CauseOf(err) != informer.CauseNotAPIServer || !strings.Contains(err.Error(), "an empty body") {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

// client-go's own decoding says it in its own words, which are as good as ours.
func TestStrangeAnswersByClientGo(t *testing.T) {
	lw := listWatchOf(t, runtime.ContentTypeJSON, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(signIn))
	}))
	src := source.FromListerWatcher[*corev1.Pod](informertest.Hidden{ListerWatcherWithContext: lw}, nil)
	_, _, listed := listedBy(t, src)
	_, watched := src.Watch(t.Context(), metav1.ListOptions{})
	for _, err := range []error{listed, watched} {
		if informer.CauseOf(err) != informer.CauseNotAPIServer || !strings.Contains(err.Error(), "text/html") {
			t.Errorf("%v is %q", err, informer.CauseOf(err))
		}
	}
}

// An exec plugin that gives no credentials is no trouble of the network.
func TestNoCredentials(t *testing.T) {
	for name, config := range map[string]rest.Config{
		"no plugin": {ExecProvider: &clientcmdapi.ExecConfig{
			Command: "/does/not/exist", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}},
		"a plugin that fails": {ExecProvider: &clientcmdapi.ExecConfig{
			Command: "false", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}},
		"a plugin that says nothing": {ExecProvider: &clientcmdapi.ExecConfig{
			Command: "true", APIVersion: "client.authentication.k8s.io/v1", InteractiveMode: clientcmdapi.NeverExecInteractiveMode,
		}},
	} {
		config.Host = "https://127.0.0.1:1"
		factory, err := source.NewDynamicListerWatcherFactory(&config)
		if err != nil {
			t.Fatal(err)
		}
		lw := factory.ForResource("", schema.GroupVersionResource{Version: "v1", Resource: "pods"})
		_, _, err = listedBy(t, source.FromListerWatcher[*unstructured.Unstructured](lw, nil))
		if informer.CauseOf(err) != informer.CauseCredentials || !strings.Contains(informer.Explain(err), "check the exec plugin or the token file") {
			t.Errorf("%s: %v is %q", name, err, informer.CauseOf(err))
		}
	}
}
