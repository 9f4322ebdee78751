// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"

	"github.com/apiary-go/apiary/internal/httpclient"
)

// StreamFunc sends the request for a list, or for a watch if opts.Watch is set, of a resource,
// and returns the body of the response, as the Stream of a [Streamer]. An empty namespace
// selects all namespaces. With metadataOnly, objects are metav1.PartialObjectMetadata.
// Otherwise they are JSON, as for unstructured objects. apimachinery's api/errors package
// recognises the errors of the server. The request and the body end with ctx. It can be
// called from any goroutine.
type StreamFunc func(ctx context.Context, resource schema.GroupVersionResource, namespace string, metadataOnly bool,
	opts metav1.ListOptions) (io.ReadCloser, error)

// NewStreamFunc returns a StreamFunc for the API server of config. It copies config. It uses
// client, or an HTTP client of its own if client is nil. Metadata comes in protobuf if the
// server supports it. The client repeats no requests: the [informer.Reflector] repeats them,
// and reports them.
//
// The rate limit of config applies to lists and not to watches, as in client-go. An empty
// UserAgent stands for rest.DefaultKubernetesUserAgent, except with a given client, which
// sets its own. A redirect to another host is an error, since the credentials are not for
// that host. At most 256 KiB of a failure response are read.
//
// It returns an error if config is nil or no client can be made from it.
func NewStreamFunc(config *rest.Config, client *http.Client) (StreamFunc, error) {
	if config == nil {
		return nil, errors.New("the rest.Config is nil: give the one of an API server, for example from rest.InClusterConfig or clientcmd.BuildConfigFromFlags")
	}
	config = rest.CopyConfig(config)
	config.GroupVersion, config.APIPath = &schema.GroupVersion{}, "/" // each request has its own
	config.NegotiatedSerializer = serializer.NewCodecFactory(streamScheme).WithoutConversion()
	config.UserAgent = cmp.Or(config.UserAgent, rest.DefaultKubernetesUserAgent())
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	var err error
	if client == nil {
		config, client, err = httpclient.New(config)
	} else {
		client, err = httpclient.Guard(config, client)
	}
	var c *rest.RESTClient
	if err == nil {
		c, err = rest.RESTClientForConfigAndClient(config, notingHTTP(client))
	}
	if err != nil {
		return nil, fmt.Errorf("making a client for streams: %w: check the address and the credentials in the rest.Config", err)
	}
	return func(ctx context.Context, resource schema.GroupVersionResource, namespace string, metadataOnly bool, opts metav1.ListOptions) (io.ReadCloser, error) {
		path := []string{"apis", resource.Group, resource.Version}
		if resource.Group == "" {
			path = []string{"api", resource.Version}
		}
		r := c.Get().AbsPath(path...).NamespaceIfScoped(namespace, namespace != "").Resource(resource.Resource).
			VersionedParams(&opts, metav1.ParameterCodec).MaxRetries(0)
		if metadataOnly {
			r.SetHeader("Accept", acceptMetadata(opts))
		}
		if opts.Watch {
			r.Throttle(nil)
		}
		return delaying(func(ctx context.Context, _ metav1.ListOptions) (io.ReadCloser, error) { return r.Stream(ctx) })(ctx, opts)
	}, nil
}

// streamScheme decodes only the errors of a server.
var streamScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}()

// acceptMetadata returns the Accept header for the metadata of objects. The types for lists
// and for watches differ.
func acceptMetadata(opts metav1.ListOptions) string {
	as := ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	if opts.Watch {
		as = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	}
	return runtime.ContentTypeProtobuf + as + "," + runtime.ContentTypeJSON + as + "," + runtime.ContentTypeJSON
}
