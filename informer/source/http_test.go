// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/apiary-go/apiary/fakeapi"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/informer/internal/informertest"
	"github.com/apiary-go/apiary/informer/source"
)

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	if err := corev1.AddToScheme(s); err != nil {
		panic(err)
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}()

// restClient returns what a typed client uses, made from a plain rest.Config.
func restClient(t testing.TB, url string, ca []byte) rest.Interface {
	t.Helper()
	cfg := &rest.Config{
		Host: url, APIPath: "/api", QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca, ServerName: "example.com"},
		ContentConfig: rest.ContentConfig{
			GroupVersion:         &schema.GroupVersion{Version: "v1"},
			NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion(),
		},
	}
	if ca == nil {
		cfg.TLSClientConfig = rest.TLSClientConfig{}
	}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(httpClient.CloseIdleConnections)
	c, err := rest.RESTClientForConfigAndClient(cfg, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func podSource(c cache.Getter) informer.Source[*corev1.Pod] {
	return source.FromListerWatcher[*corev1.Pod](cache.NewListWatchFromClient(c, "pods", "", fields.Everything()), nil)
}

// podAPI is an API server of pods.
type podAPI struct {
	*fakeapi.Server
	t    *testing.T
	pods int
}

// add adds a pod, and returns its version.
func (a *podAPI) add() string {
	a.t.Helper()
	a.pods++
	name := fmt.Sprint("pod-", a.pods)
	if err := a.Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}); err != nil {
		a.t.Fatal(err)
	}
	pod, err := a.Get("pods", "default", name)
	if err != nil {
		a.t.Fatal(err)
	}
	return pod.(*corev1.Pod).ResourceVersion
}

// requests returns the number of lists, and the versions of the watches.
func (a *podAPI) requests() (lists int, watches []string) {
	for _, r := range a.Requests() {
		switch r.Verb {
		case "list":
			lists++
		case "watch":
			watches = append(watches, r.Options.ResourceVersion)
		}
	}
	return lists, watches
}

// blackHole forwards TCP connections until a test makes it swallow their bytes,
// both ways, without a word to either end.
type blackHole struct {
	t        testing.TB
	listener net.Listener
	target   string

	mu      sync.Mutex
	conns   []net.Conn
	pairs   []*pair
	wg      sync.WaitGroup
	swallow bool // new connections too
}

type pair struct {
	mu   sync.Mutex
	dead bool
}

func newBlackHole(t testing.TB, target string) *blackHole {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &blackHole{t: t, listener: l, target: target}
	b.wg.Go(b.accept)
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for _, c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		b.wg.Wait()
	})
	return b
}

func (b *blackHole) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", b.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		b.mu.Lock()
		p := &pair{dead: b.swallow}
		b.conns = append(b.conns, client, server)
		b.pairs = append(b.pairs, p)
		b.wg.Go(func() { p.forward(client, server) })
		b.wg.Go(func() { p.forward(server, client) })
		b.mu.Unlock()
	}
}

func (p *pair) forward(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		dead := p.dead
		p.mu.Unlock()
		if dead {
			if err != nil {
				return // without closing the other end
			}
			continue
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close()
				return
			}
		}
		if err != nil {
			_ = to.Close()
			return
		}
	}
}

// die makes all present connections swallow what they carry; and those to come,
// until the next call, if all is set.
func (b *blackHole) die(all bool) (connections int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.swallow = all
	for _, p := range b.pairs {
		p.mu.Lock()
		p.dead = true
		p.mu.Unlock()
	}
	return len(b.pairs)
}

func (b *blackHole) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pairs)
}

func tlsServer(t *testing.T, handler http.Handler, http2 bool) (*httptest.Server, []byte) {
	srv := httptest.NewUnstartedServer(handler)
	srv.EnableHTTP2 = http2
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are cut off
	srv.StartTLS()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv, pemOf(srv.Certificate().Raw)
}

// TestDeadConnection lets a connection die without a word: no bytes, no end. It
// is found after the set silence, the watch is resumed over another one from
// where it was, and nothing is listed. One that is only silent is kept, and a
// network that comes back is used again.
func TestDeadConnection(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2=%v", http2), func(t *testing.T) {
			t.Parallel()
			pods := &podAPI{Server: fakeapi.New(), t: t}
			pods.add()
			srv, ca := tlsServer(t, pods, http2)
			hole := newBlackHole(t, srv.Listener.Addr().String())
			client := restClient(t, "https://"+hole.listener.Addr().String(), ca)

			ends := make(chan informer.WatchEnded, 100)
			sink := informertest.NewChanSink[*corev1.Pod]()
			r, err := informer.NewReflector(informer.Config[*corev1.Pod]{
				Source: podSource(client), Sink: sink, Settings: informer.Settings{
					IdleTimeout: 2 * time.Second,
					Lists:       informer.ListPaged,
					Backoff:     informer.Backoff{Initial: 10 * time.Millisecond, Max: 50 * time.Millisecond},
				},
				Observer: informer.ObserverFunc(func(_ informer.ReflectorInfo, o informer.ReflectorEvent) {
					if o, ok := o.(informer.WatchEnded); ok {
						select {
						case ends <- o:
						default:
						}
					}
				}),
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- r.Run(ctx) }()
			defer func() {
				cancel(errors.New("end of test"))
				informertest.Await(t, "end of Run", ran)
			}()

			informertest.Await(t, "first pod", sink.Applied)
			version := pods.add()
			informertest.Await(t, "second pod", sink.Applied)

			before := hole.die(false)
			start := time.Now()
			pods.add()
			if name := informertest.Await(t, "third pod", sink.Applied); name != "default/pod-3" {
				t.Errorf("got %s", name)
			}
			took := time.Since(start)
			end := informertest.Await(t, "end of the watch", ends)
			if end.Cause != informer.CauseSilent || end.Version != version {
				t.Errorf("the watch ended so: %+v", end)
			}
			lists, watches := pods.requests()
			if lists != 1 {
				t.Errorf("%d lists, want the first one only", lists)
			}
			t.Logf("recovered in %v, watches from %v, %d connections before, %d after", took, watches, before, hole.connections())
			if took > 20*time.Second {
				t.Errorf("recovered after %v: that was the transport's own health check", took)
			}
			if took < 1500*time.Millisecond {
				t.Errorf("recovered after %v: that was not the silence", took)
			}

			// A connection that is silent but alive is kept, by HTTP/2.
			alive := hole.connections()
			for range 2 {
				if end := informertest.Await(t, "end of a silent watch", ends); end.Cause != informer.CauseSilent {
					t.Errorf("the watch ended so: %+v", end)
				}
			}
			if now := hole.connections(); http2 && now != alive {
				t.Errorf("%d connections, there were %d: one that was alive was closed", now, alive)
			}

			// The whole network dies, for new connections too, and comes back.
			hole.die(true)
			for range 3 {
				informertest.Await(t, "attempt over a dead network", ends)
			}
			hole.die(false)
			pods.add()
			informertest.Await(t, "fourth pod", sink.Applied)
			if lists, _ := pods.requests(); lists != 1 {
				t.Errorf("%d lists, want the first one only", lists)
			}
		})
	}
}
