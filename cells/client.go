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

// Client provides the Kubernetes clients. They share one HTTP transport and one rate
// limiter. [ClientConfig] has the flags. Client provides:
//
//   - [*ClientState]: whether the clients are enabled.
//   - kubernetes.Interface: built-in kinds, in protobuf with JSON as a fallback.
//   - dynamic.Interface: any kind, in JSON.
//   - metadata.Interface: the metadata of any kind, in protobuf.
//   - discovery.DiscoveryInterface: discovery without a cache.
//   - meta.ResettableRESTMapper: maps kinds to resources. It does discovery at its first
//     use and caches the result. Reset it after a kind was installed.
//   - [*Resources]: everything that the hive follows.
//   - *rest.Config: for further clients. Its content type is JSON, the only one of custom
//     resources. Do not modify it; use rest.CopyConfig.
//
// Construction makes no request. It fails if the configuration is bad, for example if the
// kubeconfig cannot be read; the error names the flag. Without any configuration the
// clients are provided and disabled: each request fails with [ErrNotConfigured]. Programs
// that can work without a cluster check [ClientState.IsEnabled].
//
// A redirect to another host is an error, so no other host gets credentials. Of the body
// of a failed request, 256 KiB are read. Idle connections are closed when the hive stops.
//
// A hive can have one Client, and beside it clients of further clusters: see [NamedClients].
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
	Resources  *Resources
}

// ClientState shows whether the Kubernetes clients are enabled. [Client], [ClientFrom] and
// [FakeClient] provide it. All methods can be called from any goroutine.
type ClientState struct {
	err     error
	cluster string // empty: that of Client
	origin  string
	config  *rest.Config
	http    *http.Client

	dynamic  dynamic.Interface
	metadata metadata.Interface
	stream   source.StreamFunc
	kinds    *kinds
	mapper   meta.ResettableRESTMapper
	follows  *Resources
	apart    func() (*rest.RESTClient, error)
}

// IsEnabled reports whether there is a configuration. It does not check that the server
// answers.
func (s *ClientState) IsEnabled() bool { return s.err == nil }

// Err returns nil if the client is enabled, and otherwise an error that wraps
// [ErrNotConfigured].
func (s *ClientState) Err() error { return s.err }

// Origin describes where the configuration was found. It is empty if the client is
// disabled.
func (s *ClientState) Origin() string { return s.origin }

// HTTPClient returns the HTTP client that all clients share, for constructors such as
// NewForConfigAndClient of generated clients. Do not modify it.
func (s *ClientState) HTTPClient() *http.Client { return s.http }

// String implements fmt.Stringer.
func (s *ClientState) String() string {
	if s.err != nil {
		return "disabled: " + s.err.Error()
	}
	return "enabled by " + s.origin
}

func newClient(lc cell.Lifecycle, cfg ClientConfig) (clientOut, error) {
	return clientSource{ClientConfig: cfg}.client(lc)
}

// client makes the clients that c configures.
func (c clientSource) client(lc cell.Lifecycle) (clientOut, error) {
	config, origin, err := c.restConfig()
	if err != nil {
		return clientOut{}, fmt.Errorf("kubernetes client: %w", err)
	}
	if config == nil {
		return disabledClient(c.notConfigured())
	}
	return startClient(lc, config, origin)
}

// ClientFrom is [Client] with a given configuration and without flags, for example for a
// test server. Construction fails if config is nil or invalid. The caller must not modify
// config afterwards.
func ClientFrom(config *rest.Config) cell.Cell {
	return cell.Module(
		"k8s-client", "Kubernetes clients on one transport",

		cell.Provide(func(lc cell.Lifecycle) (clientOut, error) {
			if config == nil {
				return clientOut{}, errors.New("cells.ClientFrom: config is nil: give a *rest.Config, or use cells.Client, which reads flags")
			}
			return startClient(lc, config, "its constructor")
		}),
	)
}

type clientHook struct{ hook }

// startClient makes all clients for config. Their idle connections are closed at Stop.
func startClient(lc cell.Lifecycle, config *rest.Config, origin string) (clientOut, error) {
	out, err := buildClient(config, origin)
	if err != nil {
		return clientOut{}, fmt.Errorf("kubernetes client by %s: %w", origin, err)
	}
	lc.Append(clientHook{hook{
		info: "client by " + origin,
		stop: func(cell.HookContext) error {
			utilnet.CloseIdleConnectionsFor(out.State.http.Transport)
			return nil
		},
	}})
	return out, nil
}

func disabledClient(reason error) (clientOut, error) {
	out, err := buildClient(&rest.Config{
		// The transport refuses each request, so this name is never resolved. Errors of
		// the HTTP client show it.
		Host:      "http://not-configured.invalid",
		Transport: refuse{err: reason},
	}, "")
	if err != nil {
		return clientOut{}, err
	}
	out.State.err = reason
	return out, nil
}

// newApart returns a client for discovery that shares no connection with other clients,
// once its idle connections are closed.
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
	follows := &Resources{}
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))
	return clientOut{
		State: &ClientState{
			follows:  follows,
			origin:   origin,
			config:   config,
			http:     httpClient,
			dynamic:  dyn,
			metadata: mdata,
			stream:   stream,
			kinds:    newKinds(disco.RESTClient()),
			mapper:   mapper,
			apart:    sync.OnceValues(func() (*rest.RESTClient, error) { return newApart(config) }),
		},
		Config:     config,
		Kubernetes: kube,
		Dynamic:    dyn,
		Metadata:   mdata,
		Discovery:  disco,
		Mapper:     mapper,
		Resources:  follows,
	}, nil
}

// withProtobuf returns a copy of config for clients of built-in kinds.
func withProtobuf(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.ContentType = runtime.ContentTypeProtobuf
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return c
}
