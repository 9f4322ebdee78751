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

// StreamFunc is the Stream of a [Streamer] for whatever resource: it requests its
// objects, those of all namespaces if the namespace is empty; if metadataOnly is set,
// their metadata, as a metav1.PartialObjectMetadata each, and else such that they can be
// unstructured, in JSON. An error of the server is one that those of apimachinery's
// api/errors package recognise. The request, and the body, end with ctx. It may be called
// from any goroutine.
type StreamFunc func(ctx context.Context, resource schema.GroupVersionResource, namespace string, metadataOnly bool,
	opts metav1.ListOptions) (io.ReadCloser, error)

// NewStreamFunc returns a StreamFunc for the API server of config, which is copied, by an
// HTTP client, or one of its own if that is nil. Metadata comes in protobuf if the server
// has it. Requests are not repeated by the client: the [informer.Reflector] does that, and says so.
// The rate limit of config applies to lists and not to watches, as in client-go, and so
// is rest.DefaultKubernetesUserAgent in place of an empty UserAgent, but for a client that
// is given, which has its own.
//
// A redirect to another host is an error, as the credentials are not for that one. Of an
// answer that is no success the first 256 KiB are read.
//
// It fails if config is nil, or if no client can be made of it.
func NewStreamFunc(config *rest.Config, client *http.Client) (StreamFunc, error) {
	if config == nil {
		return nil, errors.New("the rest.Config is nil: give that of an API server, for example from rest.InClusterConfig or clientcmd.BuildConfigFromFlags")
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

// streamScheme is for nothing but the errors of a server.
var streamScheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
}()

// acceptMetadata asks for the metadata of objects; what serves lists has another name
// for it than what serves watches.
func acceptMetadata(opts metav1.ListOptions) string {
	as := ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	if opts.Watch {
		as = ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	}
	return runtime.ContentTypeProtobuf + as + "," + runtime.ContentTypeJSON + as + "," + runtime.ContentTypeJSON
}
