// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"cmp"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/cilium/hive/cell"
	"github.com/spf13/pflag"
)

// StatusServer serves [StatusPage] over HTTP between Start and Stop of the hive, if the flag
// --status-address is set. It logs the address. It provides a [*StatusAddress]. Put it before
// cells whose start hooks wait for something: it is then served while they wait.
var StatusServer = StatusServerWith(StatusServerConfig{})

// StatusServerWith is [StatusServer] with other defaults of its flag.
func StatusServerWith(defaults StatusServerConfig) cell.Cell {
	return cell.Module(
		"k8s-status-server", "Status page of Kubernetes resources",

		cell.Config(defaults),
		cell.Provide(newStatusServer),
		cell.Invoke(func(*StatusAddress) {}),
	)
}

// StatusServerConfig is the configuration of [StatusServer].
type StatusServerConfig struct {
	// StatusAddress is the host:port or the unix:/path of the HTTP server. Port 0 is a free
	// port. Without a host it is 127.0.0.1. The page needs no password, so every other host
	// must be named: 0.0.0.0:9090 listens on all addresses. Default: empty, which means no
	// server. Flag --status-address.
	StatusAddress string
}

// Flags implements cell.Flagger.
func (c StatusServerConfig) Flags(flags *pflag.FlagSet) {
	flags.String("status-address", c.StatusAddress, "host:port or unix:/path of an HTTP server for the status page; "+
		":port is on 127.0.0.1 only, and other hosts, such as 0.0.0.0, open the page to others without a password; empty means no server")
}

// StatusAddress is the address of the status page. Its methods can be called from any
// goroutine.
type StatusAddress struct{ server *httpServer }

// Address returns the address of the page, or nil if it is not served.
func (a *StatusAddress) Address() net.Addr { return a.server.Addr() }

type statusServerParams struct {
	cell.In

	Lifecycle cell.Lifecycle
	Config    StatusServerConfig
	Log       *slog.Logger
	Clusters  Clusters
}

func newStatusServer(p statusServerParams) (*StatusAddress, error) {
	given := p.Config.StatusAddress
	if given == "" {
		return &StatusAddress{}, nil
	}
	page := newStatusPage(p.Clusters.Resources())
	mux := http.NewServeMux()
	mux.Handle("/{$}", page)
	s := &httpServer{what: "status page", flag: "status-address", network: "tcp", handler: mux}
	if path, ok := strings.CutPrefix(given, "unix:"); ok {
		s.network, s.address = "unix", path
	} else {
		host, port, err := net.SplitHostPort(given)
		if err != nil {
			return nil, fmt.Errorf("--status-address=%s: want host:port or unix:/path: %w", given, err)
		}
		page.host = host
		s.address = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), port)
	}
	s.listening = func(a net.Addr) {
		address := "unix:" + a.String()
		if tcp, ok := a.(*net.TCPAddr); ok {
			page.anyHost = !tcp.IP.IsLoopback()
			address = "http://" + a.String() + "/"
		}
		p.Log.Info("The status page is served", "address", address)
	}
	p.Lifecycle.Append(s)
	return &StatusAddress{server: s}, nil
}
