// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/hive/cell"
	corev1 "k8s.io/api/core/v1"
)

// fetch loads the page over a connection, under a host.
func fetch(t *testing.T, address net.Addr, host string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, address.Network(), address.String())
	}}}
	response, err := client.Get("http://" + host + "/")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// serveStatus runs a hive with a status page at an address while fn runs.
func serveStatus(t *testing.T, address string, fn func(net.Addr)) (log string, err error) {
	var out bytes.Buffer
	err = run(t, slog.New(slog.NewTextHandler(&out, nil)), []string{"--status-address=" + address}, FakeClient, Resource[*corev1.Pod](), StatusServer,
		atStart(t, func(_ context.Context, in struct {
			cell.In
			Params  Params // so that it is started first
			Address *StatusAddress
		}) error {
			fn(in.Address.Address())
			return nil
		}))
	return out.String(), err
}

// The server listens on loopback unless a host is named, and on loopback it refuses other
// hosts. It logs its address. After the stop nobody listens.
func TestStatusServer(t *testing.T) {
	for _, tt := range []struct {
		address, host string
		loopback      bool
		want          int
	}{
		{":0", "localhost", true, 200},
		{":0", "evil.example", true, 403},
		{"localhost:0", "localhost", true, 200},
		{"127.0.0.1:0", "127.0.0.1", true, 200},
		{"0.0.0.0:0", "node-1.example", false, 200},
		{"unix:" + filepath.Join(t.TempDir(), "status"), "localhost", false, 200},
	} {
		var at net.Addr
		log, err := serveStatus(t, tt.address, func(a net.Addr) {
			at = a
			code, body := fetch(t, a, tt.host)
			if code != tt.want || code == 200 && !strings.HasPrefix(body, "All in sync") && !strings.HasPrefix(body, "Nothing is followed") {
				t.Errorf("--status-address=%s under host %s: %d %s", tt.address, tt.host, code, body)
			}
			if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsLoopback() != tt.loopback {
				t.Errorf("--status-address=%s listens on %s", tt.address, a)
			}
		})
		if err != nil || !strings.Contains(log, "The status page is served") || !strings.Contains(log, at.String()) {
			t.Errorf("--status-address=%s: %v, log: %s", tt.address, err, log)
		}
		if conn, err := net.Dial(at.Network(), at.String()); err == nil {
			_ = conn.Close()
			t.Errorf("%s is served after the stop", at)
		}
	}
}

// Without an address there is no server, and a wrong one is reported with the flag.
func TestStatusServerAddress(t *testing.T) {
	if _, err := serveStatus(t, "", func(a net.Addr) {
		if a != nil {
			t.Errorf("it listens on %v", a)
		}
	}); err != nil {
		t.Error(err)
	}
	for _, wrong := range []string{"nowhere", "256.0.0.1:1", "unix:" + t.TempDir()} {
		if _, err := serveStatus(t, wrong, func(net.Addr) {}); err == nil || !strings.Contains(err.Error(), "--status-address") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// A socket that a killed process left is replaced, and one in use is not.
func TestStatusServerSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := serveStatus(t, "unix:"+path, func(net.Addr) {}); err == nil {
		t.Error("a socket in use was replaced")
	}
	left.SetUnlinkOnClose(false)
	_ = left.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	if _, err := serveStatus(t, "unix:"+path, func(net.Addr) {}); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := serveStatus(t, "unix:"+file, func(net.Addr) {}); err == nil {
		t.Error("a file was replaced")
	}
}
