// SPDX-License-Identifier: Apache-2.0
// Copyright The Apiary Authors

package source

import (
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// client-go drops the header Retry-After of a response whose body is a Status. So a transport
// stores it in the context of the request, and the error gets it if the Status has none.

type retryAfterKey struct{}

// delaying wraps send, so that its errors have the Retry-After of the response.
func delaying(send func(context.Context, metav1.ListOptions) (io.ReadCloser, error)) func(context.Context, metav1.ListOptions) (io.ReadCloser, error) {
	return func(ctx context.Context, opts metav1.ListOptions) (io.ReadCloser, error) {
		var seconds int32
		in, err := send(context.WithValue(ctx, retryAfterKey{}, &seconds), opts)
		return in, delayed(err, seconds)
	}
}

// delayed returns err with a number of seconds, if it is of a Status that has none.
func delayed(err error, seconds int32) error {
	var status apierrors.APIStatus
	if seconds <= 0 || !errors.As(err, &status) {
		return err
	}
	if known, _ := apierrors.SuggestsClientDelay(err); known > 0 {
		return err
	}
	s := status.Status()
	details := metav1.StatusDetails{}
	if s.Details != nil {
		details = *s.Details
	}
	details.RetryAfterSeconds = seconds
	s.Details = &details
	return &apierrors.StatusError{ErrStatus: s}
}

// notingClient returns a client like c that stores the header, or c if it is not a client of
// client-go. The HTTP transport is the same.
func notingClient(c cache.Getter) cache.Getter {
	client, ok := c.(*rest.RESTClient)
	if !ok || client == nil {
		return c
	}
	noting := reflect.New(reflect.TypeFor[rest.RESTClient]())
	noting.Elem().Set(reflect.ValueOf(client).Elem())
	own := noting.Interface().(*rest.RESTClient)
	own.Client = notingHTTP(client.Client)
	return own
}

// notingHTTP returns an HTTP client like c that stores the header.
func notingHTTP(c *http.Client) *http.Client {
	if c == nil {
		c = http.DefaultClient
	}
	noting := *c
	noting.Transport = notingTransport{c.Transport}
	return &noting
}

type notingTransport struct{ next http.RoundTripper }

// WrappedRoundTripper lets apimachinery find the transport inside.
func (t notingTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements http.RoundTripper.
func (t notingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(req)
	if seconds, ok := req.Context().Value(retryAfterKey{}).(*int32); ok && err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		if n, err := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 32); err == nil {
			*seconds = int32(n)
		}
	}
	return resp, err
}
