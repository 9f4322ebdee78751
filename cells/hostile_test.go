// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/apiary-go/apiary/resource"
	"github.com/apiary-go/apiary/status"
)

// syncBuffer is a log that several write to, and that says when there is an error in it.
type syncBuffer struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	failed chan struct{}
}

func newSyncBuffer() *syncBuffer { return &syncBuffer{failed: make(chan struct{}, 1)} }

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if bytes.Contains(p, []byte("error=")) {
		select {
		case b.failed <- struct{}{}:
		default:
		}
	}
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// hostileServer answers discovery well, and anything else by answer. Answers can be damaged,
// unlike those of fakeapi.
func hostileServer(t *testing.T, answer http.HandlerFunc) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/v1" {
			_, _ = io.WriteString(w, `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[{"name":"secrets","kind":"Secret","namespaced":true,"verbs":["list","watch"]}]}`)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// troubled returns the health and the log of secrets that a server answers so, as a
// resource and as the status of one of them, once the health has want in it.
func troubled(t *testing.T, answer http.HandlerFunc, want string) string {
	t.Helper()
	health, log := newHealthLog(), newSyncBuffer()
	config := &rest.Config{Host: hostileServer(t, answer), BearerToken: canary}
	var said []string
	err := run(t, slog.New(slog.NewTextHandler(log, nil)), nil, ClientFrom(config), Status, cell.Provide(func() cell.Health { return health }),
		Resource[*corev1.Secret](impatient()),
		atStart(t, func(ctx context.Context, d struct {
			cell.In
			Secrets resource.Resource[*corev1.Secret]
			Engine  *status.Engine
		}) error {
			d.Secrets.Events(ctx)
			for !strings.Contains(strings.Join(said, "\n"), want) {
				select {
				case line := <-health.lines:
					said = append(said, line)
				case <-ctx.Done():
					return fmt.Errorf("no health with %q in %q", want, said)
				}
			}
			select {
			case <-log.failed:
			case <-ctx.Done():
				return errors.New("no error in the log")
			}
			w, err := d.Engine.Watch(ctx, status.ID{Namespace: "a", Name: "b", GroupKind: schema.GroupKind{Kind: "Secret"}})
			if err != nil {
				return err
			}
			defer w.Close()
			for range w.Events() {
				if s := w.Statuses()[0]; s.Err != nil {
					said = append(said, s.String(), s.Err.Error())
					return nil
				}
			}
			return errors.New("no status with an error")
		}))
	if err != nil {
		t.Error(err)
	}
	return strings.Join(said, "\n") + "\n" + log.String()
}

// What is in a Secret that cannot be read is in no health and no log.
func TestSecretsAreNotQuoted(t *testing.T) {
	for _, member := range []string{
		`"data":{"password":"!` + canary + `"}`, `"data":"` + canary + `"`, `"data":{"password":"` + canary + `\q"}`, `"data":{"password":` + canary + `}`,
		`"data":{"password":"` + canary + `"},"metadata":{"name":"b","creationTimestamp":"` + canary + `","labels":{"a":1e999}}`,
	} {
		said := troubled(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"b","namespace":"a","resourceVersion":"1"},`+member+`}]}`)
		}, "decoding")
		if strings.Contains(said, canary) {
			t.Errorf("%s: %s", member, said)
		}
	}
}

// A redirect to another host is an error, and that host gets neither the token nor a request.
func TestRedirectToAnotherHost(t *testing.T) {
	var mu sync.Mutex
	requests := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests++
	}))
	defer other.Close()
	said := troubled(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}, "redirects to "+other.URL)
	mu.Lock()
	defer mu.Unlock()
	if requests > 0 || strings.Contains(said, canary) {
		t.Errorf("%d requests to the other host; %s", requests, said)
	}
}

// A failure without end takes no memory, and is what its code says.
func TestFailureWithoutEnd(t *testing.T) {
	var zeros bytes.Buffer
	zip := gzip.NewWriter(&zeros)
	_, _ = zip.Write(make([]byte, 1<<20))
	_ = zip.Close()
	for code, want := range map[int]string{http.StatusInternalServerError: "Degraded: cannot list: server", http.StatusForbidden: "Degraded: cannot list: forbidden"} {
		said := troubled(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.WriteHeader(code)
			var err error
			for err == nil {
				_, err = w.Write(zeros.Bytes())
			}
		}, want)
		for line := range strings.Lines(said) {
			if len(line) > 5000 {
				t.Errorf("%d: %d bytes: %.200s", code, len(line), line)
			}
		}
	}
}

// Messages of servers are short in health and logs.
func TestMessagesAreShort(t *testing.T) {
	said := troubled(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500,"message":"no \u001b[31m%s"}`, strings.Repeat("no ", 80_000))
	}, "Degraded: cannot list: server")
	for line := range strings.Lines(said) {
		if len(line) > 5000 || strings.Contains(line, "\x1b") {
			t.Errorf("%d bytes: %.200s", len(line), line)
		}
	}
}

// Lines that client-go logs about a server are short, and show no credentials. The debug
// level has all of the text.
func TestKlogIsRedacted(t *testing.T) {
	log := newSyncBuffer()
	before := klogTo.Swap(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer klogTo.Store(before)
	long := strings.Repeat("long ", 100_000)
	klog.Warning("from the server: " + long)
	klog.ErrorS(errors.New("decoding stdout: Object 'Kind' is missing in '"+canary), "refreshing credentials", "url", "https://u:"+canary+"@host", "n", 7)
	klog.Background().WithName("x").Info("a\x1bb")
	text := log.String()
	if len(text) > 5000 || strings.Contains(text, canary) || strings.Count(text, "\n") != 3 {
		t.Errorf("%d bytes: %.3000s", len(text), text)
	}
	for _, want := range []string{"from the server: long", "(500017 bytes)", "decoding stdout: …", "https://***@host", "n=7", `a\x1bb`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s lacks %q", text, want)
		}
	}
	if debug := redacted(slog.Record{Level: slog.LevelDebug, Message: long}); debug.Message != long {
		t.Error("a message for debugging was cut")
	}
}
