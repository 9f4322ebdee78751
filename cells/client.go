// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package cells

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/cilium/hive/cell"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/apiary-go/apiary/informer/source"
	"github.com/apiary-go/apiary/internal/httpclient"
)

// Client provides the Kubernetes clients, all on one HTTP transport and one rate
// limiter:
//
//   - [*ClientState]: whether there is a configuration, and what follows from it.
//   - kubernetes.Interface: built-in kinds, in protobuf with JSON as a fallback.
//   - dynamic.Interface: any kind, in JSON.
//   - metadata.Interface: the metadata of any kind, in protobuf.
//   - discovery.DiscoveryInterface: what the server has; no cache.
//   - meta.ResettableRESTMapper: kinds to resources, by discovery, which it does
//     at its first use and then caches. Reset it after a kind was installed.
//   - *rest.Config: for further clients. It has the JSON content type, since
//     custom resources have no other. Do not modify it; rest.CopyConfig.
//
// The flags are those of [ClientConfig].
//
// Constructing these makes no request. A configuration that is there but bad, such
// as a kubeconfig that cannot be read, fails the construction with an error that
// names the flag. Without any configuration everything is provided all the same,
// and nothing is nil: the clients are disabled, and every request of theirs fails
// with [ErrNotConfigured]. Consumers that can do without ask [ClientState] first.
//
// A redirect to another host is an error: credentials are sent to no other host. Of an
// answer that is no success the first 256 KiB are read.
//
// The idle connections are closed when the hive stops.
var Client = cell.Module(
	"k8s-client", "Kubernetes clients on one transport",

	cell.Config(DefaultClientConfig),
	cell.Provide(newClient),
)

// clientOut is what both [Client] and [FakeClient] provide.
type clientOut struct {
	cell.Out

	State      *ClientState
	Config     *rest.Config
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Mapper     meta.ResettableRESTMapper
}

// ClientState says whether the Kubernetes client is of use. It is provided by
// [Client] and [FakeClient], and may be used from any goroutine.
type ClientState struct {
	err    error
	origin string
	config *rest.Config
	http   *http.Client

	dynamic  dynamic.Interface
	metadata metadata.Interface
	stream   source.StreamFunc
	kinds    *kinds
	apart    func() (*rest.RESTClient, error)
}

// IsEnabled reports whether there is a configuration. It does not say that the
// server answers.
func (s *ClientState) IsEnabled() bool { return s.err == nil }

// Err is nil if the client is enabled, and otherwise says why not and what to do
// about it: an error that wraps [ErrNotConfigured].
func (s *ClientState) Err() error { return s.err }

// Origin says where the configuration was found, for people. It is empty if the
// client is disabled.
func (s *ClientState) Origin() string { return s.origin }

// HTTPClient is the HTTP client that all clients share, for constructors such as
// NewForConfigAndClient of generated clients. It must not be modified.
func (s *ClientState) HTTPClient() *http.Client { return s.http }

// String implements fmt.Stringer.
func (s *ClientState) String() string {
	if s.err != nil {
		return "disabled: " + s.err.Error()
	}
	return "enabled by " + s.origin
}

func newClient(lc cell.Lifecycle, cfg ClientConfig) (clientOut, error) {
	config, origin, err := cfg.restConfig()
	if err != nil {
		return clientOut{}, fmt.Errorf("kubernetes client: %w", err)
	}
	if config == nil {
		return disabledClient(ErrNotConfigured)
	}
	return startClient(lc, config, origin)
}

// ClientFrom takes the place of [Client] where the configuration is at hand: that of a
// test server, or of a program that reads its own. It provides the same and has no
// flags. Construction fails if config is nil or no client can be made of it. The caller
// must not modify config afterwards.
func ClientFrom(config *rest.Config) cell.Cell {
	return cell.Module(
		"k8s-client", "Kubernetes clients on one transport",

		cell.Provide(func(lc cell.Lifecycle) (clientOut, error) {
			if config == nil {
				return clientOut{}, errors.New("cells.ClientFrom: config is nil: give a *rest.Config, or use cells.Client, which finds one")
			}
			return startClient(lc, config, "its constructor")
		}),
	)
}

// startClient makes all clients for config, and closes their connections in the end.
func startClient(lc cell.Lifecycle, config *rest.Config, origin string) (clientOut, error) {
	out, err := buildClient(config, origin)
	if err != nil {
		return clientOut{}, fmt.Errorf("kubernetes client by %s: %w", origin, err)
	}
	lc.Append(cell.Hook{OnStop: func(cell.HookContext) error {
		utilnet.CloseIdleConnectionsFor(out.State.http.Transport)
		return nil
	}})
	return out, nil
}

func disabledClient(reason error) (clientOut, error) {
	out, err := buildClient(&rest.Config{
		// Nothing is looked up or dialled: the transport refuses. The name
		// shows in the errors of the HTTP client.
		Host:      "http://not-configured.invalid",
		Transport: refuse{err: reason},
	}, "")
	if err != nil {
		return clientOut{}, err
	}
	out.State.err = reason
	return out, nil
}

// newApart returns a client for discovery that shares no connection with others, once
// its idle connections are closed.
func newApart(config *rest.Config) (*rest.RESTClient, error) {
	config = rest.CopyConfig(config)
	if config.Transport == nil {
		dial := config.Dial
		if dial == nil {
			dial = (&net.Dialer{Timeout: DefaultClientConfig.K8sConnectTimeout}).DialContext
		}
		// A function of its own makes a transport of its own.
		config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address)
		}
	}
	config.GroupVersion = &schema.GroupVersion{}
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	return rest.UnversionedRESTClientFor(config)
}

// buildClient makes all clients for config.
func buildClient(config *rest.Config, origin string) (clientOut, error) {
	config, httpClient, err := httpclient.New(config)
	if err != nil {
		return clientOut{}, err
	}
	kube, err1 := kubernetes.NewForConfigAndClient(withProtobuf(config), httpClient)
	dyn, err2 := dynamic.NewForConfigAndClient(config, httpClient)
	mdata, err3 := metadata.NewForConfigAndClient(config, httpClient)
	disco, err4 := discovery.NewDiscoveryClientForConfigAndClient(config, httpClient)
	stream, err5 := source.NewStreamFunc(config, httpClient)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return clientOut{}, err
	}
	return clientOut{
		State: &ClientState{
			origin:   origin,
			config:   config,
			http:     httpClient,
			dynamic:  dyn,
			metadata: mdata,
			stream:   stream,
			kinds:    newKinds(disco.RESTClient()),
			apart:    sync.OnceValues(func() (*rest.RESTClient, error) { return newApart(config) }),
		},
		Config:     config,
		Kubernetes: kube,
		Dynamic:    dyn,
		Metadata:   mdata,
		Discovery:  disco,
		Mapper:     restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

// withProtobuf returns a copy of config for clients of built-in kinds.
func withProtobuf(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}
