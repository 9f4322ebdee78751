// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apiary-go/apiary/cells"
	"github.com/apiary-go/apiary/informer"
	"github.com/apiary-go/apiary/resource"
)

// proxy passes bytes on until it is told to swallow those of the connections that
// it has. New connections work.
type proxy struct {
	listener net.Listener
	to       string
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	dead  map[net.Conn]bool
}

func newProxy(t *testing.T, to string) *proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: listener, to: to, dead: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.mu.Lock()
		for _, conn := range p.conns {
			conn.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			down.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, down, up)
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(down, up) })
		p.wg.Go(func() { p.pass(up, down) })
	}
}

func (p *proxy) pass(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		dead := p.dead[from]
		p.mu.Unlock()
		switch {
		case dead && err != nil:
			return // the other side is told nothing
		case dead:
		case n > 0:
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err != nil && !dead {
			if err != io.EOF {
				from.Close()
			}
			to.Close()
			return
		}
	}
}

// swallow kills the connections that there are, without a word to either side.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		p.dead[conn] = true
	}
}

// A connection that dies without a word is found after the silence that was set;
// the watch is resumed, without a list.
func TestDeadConnection(t *testing.T) {
	cluster := sharedCluster(t)
	server := startApp(t, cluster.Kubeconfig())
	ns := server.namespace(t)
	address, err := url.Parse(cluster.URL())
	must(t, err)
	p := newProxy(t, address.Host)
	config, err := os.ReadFile(cluster.Kubeconfig())
	must(t, err)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(config), address.Host, p.listener.Addr().String())), 0o600))

	const silence = 3 * time.Second
	var maps resource.Resource[*corev1.ConfigMap]
	var seen occurrences
	startApp(t, path, get(&maps), cells.Resource[*corev1.ConfigMap](cells.InNamespace(ns), cells.With(
		resource.WithObserver(&seen), resource.WithSettings(informer.Settings{Silence: silence}))))
	rec := record(t, maps)
	rec.waitSynced(t)

	p.swallow()
	start := time.Now()
	cm, err := server.kube.CoreV1().ConfigMaps(ns).Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "unheard"}}, metav1.CreateOptions{})
	must(t, err)
	rec.waitFor(t, cm)
	took := time.Since(start)
	ended := await(t, &seen, func(o informer.WatchEnded) bool { return o.Cause == informer.CauseSilent })
	t.Logf("found and mended after %v (silence of %v): %v", took, silence, ended.Err)
	if passes := each[informer.ListStarted](&seen); len(passes) != 1 {
		t.Errorf("%d passes, want the first alone: %+v", len(passes), passes)
	}
	if err := context.Cause(t.Context()); err != nil {
		t.Fatal(fmt.Errorf("the test ended early: %w", err))
	}
}
